{{/* What KEDA's kafka scaler is told from the same Secrets that the pods have, as a JSON list of {parameter, name, key}. */}}
{{- define "forebay.kedaSecrets" -}}
{{- $found := list -}}
{{- $sasl := .Values.kafka.sasl -}}
{{- if and $sasl.existingSecret (ne $sasl.mechanism "OAUTHBEARER") -}}
{{- $found = append $found (dict "parameter" "password" "name" $sasl.existingSecret "key" $sasl.passwordKey) -}}
{{- if $sasl.usernameKey -}}
{{- $found = append $found (dict "parameter" "username" "name" $sasl.existingSecret "key" $sasl.usernameKey) -}}
{{- end -}}
{{- end -}}
{{- with .Values.kafka.tls -}}
{{- if and .enabled .caSecret -}}
{{- $found = append $found (dict "parameter" "ca" "name" .caSecret "key" .caKey) -}}
{{- end -}}
{{- if and .enabled .clientSecret -}}
{{- $found = append $found (dict "parameter" "cert" "name" .clientSecret "key" .clientCertificateKey) -}}
{{- $found = append $found (dict "parameter" "key" "name" .clientSecret "key" .clientKeyKey) -}}
{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end }}
