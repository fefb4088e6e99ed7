{{/* What the queue's client is told that is no secret, as JSON. What was written out wins. */}}
{{- define "forebay.kafkaProperties" -}}
{{- $kafka := .Values.kafka -}}
{{- $made := dict -}}
{{- $sasl := ne $kafka.sasl.mechanism "" -}}
{{- if or $sasl $kafka.tls.enabled -}}
{{- $protocol := ternary "SSL" "PLAINTEXT" $kafka.tls.enabled -}}
{{- $_ := set $made "security.protocol" (ternary (printf "SASL_%s" $protocol) $protocol $sasl) -}}
{{- end -}}
{{- if $sasl -}}
{{- $_ := set $made "sasl.mechanism" $kafka.sasl.mechanism -}}
{{- end -}}
{{- if eq $kafka.sasl.mechanism "OAUTHBEARER" -}}
{{- $_ := set $made "sasl.oauthbearer.method" "oidc" -}}
{{- $_ := set $made "sasl.oauthbearer.token.endpoint.url" $kafka.sasl.oauthbearer.tokenEndpointUrl -}}
{{- $_ := set $made "sasl.oauthbearer.client.id" $kafka.sasl.oauthbearer.clientId -}}
{{- with $kafka.sasl.oauthbearer.scope -}}{{- $_ := set $made "sasl.oauthbearer.scope" . -}}{{- end -}}
{{- end -}}
{{- if $kafka.tls.enabled -}}
{{- if $kafka.tls.caSecret -}}{{- $_ := set $made "ssl.ca.location" "/etc/forebay/secrets/kafka/ca.crt" -}}{{- end -}}
{{- if $kafka.tls.clientSecret -}}
{{- $_ := set $made "ssl.certificate.location" "/etc/forebay/secrets/kafka/client.crt" -}}
{{- $_ := set $made "ssl.key.location" "/etc/forebay/secrets/kafka/client.key" -}}
{{- end -}}
{{- end -}}
{{- merge (deepCopy $kafka.properties) $made | toJson -}}
{{- end }}

{{/* Property → {name, key} of the Secret where it stands, as JSON. */}}
{{- define "forebay.kafkaSecrets" -}}
{{- $sasl := .Values.kafka.sasl -}}
{{- $found := deepCopy .Values.kafka.secretProperties -}}
{{- if eq $sasl.mechanism "OAUTHBEARER" -}}
{{- if $sasl.oauthbearer.existingSecret -}}
{{- $_ := set $found "sasl.oauthbearer.client.secret" (dict "name" $sasl.oauthbearer.existingSecret "key" $sasl.oauthbearer.clientSecretKey) -}}
{{- end -}}
{{- else if and $sasl.mechanism $sasl.existingSecret -}}
{{- $_ := set $found "sasl.password" (dict "name" $sasl.existingSecret "key" $sasl.passwordKey) -}}
{{- if $sasl.usernameKey -}}
{{- $_ := set $found "sasl.username" (dict "name" $sasl.existingSecret "key" $sasl.usernameKey) -}}
{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end }}

{{/*
(list root component): every secret that the component gets, as a JSON list of {name, key, path, variable}. Each is a
file; a variable names it where a setting wants it.
*/}}
{{- define "forebay.secrets" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := $root.Values -}}
{{- $found := list -}}
{{- if eq $values.queue.type "kafka" -}}
{{- range $property, $at := include "forebay.kafkaSecrets" $root | fromJson -}}
{{- $variable := printf "FOREBAY_KAFKA__%s_FILE" ($property | upper | replace "." "_") -}}
{{- $found = append $found (dict "name" $at.name "key" $at.key "path" (printf "kafka/%s" $property) "variable" $variable) -}}
{{- end -}}
{{- with $values.kafka.tls -}}
{{- if and .enabled .caSecret -}}
{{- $found = append $found (dict "name" .caSecret "key" .caKey "path" "kafka/ca.crt") -}}
{{- end -}}
{{- if and .enabled .clientSecret -}}
{{- $found = append $found (dict "name" .clientSecret "key" .clientCertificateKey "path" "kafka/client.crt") -}}
{{- $found = append $found (dict "name" .clientSecret "key" .clientKeyKey "path" "kafka/client.key") -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $found = append $found (dict "name" $values.queueUrl.existingSecret "key" $values.queueUrl.key "path" "queue-url" "variable" "FOREBAY_QUEUE_URL_FILE") -}}
{{- end -}}
{{- if $values.schemaRegistry.url -}}
{{- range $property, $at := $values.schemaRegistry.secretProperties -}}
{{- $variable := printf "FOREBAY_SCHEMA_REGISTRY__%s_FILE" ($property | upper | replace "." "_") -}}
{{- $found = append $found (dict "name" $at.name "key" $at.key "path" (printf "schema-registry/%s" $property) "variable" $variable) -}}
{{- end -}}
{{- end -}}
{{- if has $component (list "ingest" "test" "canary") -}}
{{- range $secret, $variable := dict "tokens" "FOREBAY_TOKENS_FILE" "urlSecret" "FOREBAY_URL_SECRET_FILE" "endpoints" "FOREBAY_ENDPOINTS_FILE" -}}
{{- $at := get $values.auth $secret -}}
{{- if $at.existingSecret -}}
{{- $found = append $found (dict "name" $at.existingSecret "key" $at.key "path" (kebabcase $secret) "variable" $variable) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq $component "web" -}}
{{- $found = append $found (dict "name" $values.web.password.existingSecret "key" $values.web.password.key "path" "web-password" "variable" "FOREBAY_WEB_PASSWORD_FILE") -}}
{{- end -}}
{{- if and $values.dedup.existingSecret (has $component (list "processor" "sealed-processor")) -}}
{{- $found = append $found (dict "name" $values.dedup.existingSecret "key" $values.dedup.key "path" "dedup-url" "variable" "FOREBAY_DEDUP_URL_FILE") -}}
{{- end -}}
{{- if and $values.sealing.existingSecret (or (has $component (list "ingest" "sealed-processor" "topics")) (and (has $component (list "test" "canary")) $values.auth.endpoints.existingSecret)) -}}
{{- $found = append $found (dict "name" $values.sealing.existingSecret "key" $values.sealing.key "path" "seal-keys" "variable" "FOREBAY_SEAL_KEYS_FILE") -}}
{{- end -}}
{{- $found | toJson -}}
{{- end }}

{{/*
(list root component settings own extra): the variables of a container. `own` is a list of the component's, as {name, value}. What `extra`
has under the same name, or for the same setting by value or by file, goes before that of the chart: one name twice is refused by Kubernetes.
*/}}
{{- define "forebay.env" -}}
{{- $extra := index . 4 | default list -}}
{{- $given := list -}}
{{- range $extra -}}{{- $given = append $given (trimSuffix "_FILE" .name) -}}{{- end -}}
{{- $all := list -}}
{{- range concat (index . 3) (include "forebay.commonEnv" . | fromYamlArray) -}}
{{- if not (has (trimSuffix "_FILE" .name) $given) -}}{{- $all = append $all . -}}{{- end -}}
{{- end -}}
{{- concat $all $extra | toYaml -}}
{{- end }}

{{/* (list root component settings): the variables that any container may have, settings of the chart's own first. */}}
{{- define "forebay.commonEnv" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $settings := index . 2 -}}
{{- $values := $root.Values -}}
- {name: HOME, value: /tmp}
- name: FOREBAY_TOPIC
  value: {{ $values.queue.topic | quote }}
- name: FOREBAY_PARTITIONS
  value: {{ $values.queue.partitions | int | quote }}
{{- if eq $values.queue.type "kafka" }}
- name: FOREBAY_QUEUE_URL
  value: {{ printf "kafka://%s" (join "," $values.kafka.brokers) | quote }}
{{- with include "forebay.kafkaProperties" $root | fromJson }}
- name: FOREBAY_KAFKA
  value: {{ toJson . | quote }}
{{- end }}
{{- /* A variable of its own, so that a component may have another user by another variable. */}}
{{- with $values.kafka }}
{{- if and .sasl.mechanism .sasl.username (ne .sasl.mechanism "OAUTHBEARER") (not (hasKey .properties "sasl.username")) }}
- name: FOREBAY_KAFKA__SASL_USERNAME
  value: {{ .sasl.username | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if $values.schemaRegistry.url }}
- name: FOREBAY_SCHEMA_REGISTRY_URL
  value: {{ $values.schemaRegistry.url | quote }}
{{- with $values.schemaRegistry.properties }}
- name: FOREBAY_SCHEMA_REGISTRY
  value: {{ toJson . | quote }}
{{- end }}
{{- end }}
{{- if and $values.auth.policies (has $component (list "ingest" "test" "canary")) }}
{{- /* Who calls has nothing to do with the registry, and doesn't get its keys. */}}
{{- $policies := ternary $values.auth.policies (without $values.auth.policies "registry") (eq $component "ingest") }}
- name: FOREBAY_AUTH
  value: {{ default (list "none") $policies | toJson | quote }}
{{- end }}
{{- range include "forebay.secrets" (list $root $component) | fromJsonArray }}
{{- if .variable }}
- name: {{ .variable }}
  value: {{ printf "/etc/forebay/secrets/%s" .path | quote }}
{{- end }}
{{- end }}
{{- if and $values.tracing.endpoint (has $component (list "ingest" "processor" "sealed-processor")) }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ $values.tracing.endpoint | quote }}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: http/protobuf}
- {name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ $values.tracing.sampleRatio | quote }}
{{- end }}
{{- $written := deepCopy $values.settings -}}
{{- include "forebay.mergeInto" (list $written $settings) -}}
{{- range $name, $value := $written }}
- name: {{ printf "FOREBAY_%s" (upper $name) }}
  value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}
{{- end }}
{{- end }}
