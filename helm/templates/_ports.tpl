{{/* The ports of the queue, as a JSON list. */}}
{{- define "forebay.queuePorts" -}}
{{- $ports := .Values.networkPolicy.queuePorts -}}
{{- if and (not $ports) (eq .Values.queue.type "kafka") -}}
{{- range .Values.kafka.brokers -}}
{{- $ports = append $ports (regexFind "[0-9]+$" . | int) -}}
{{- end -}}
{{- else if not $ports -}}
{{- $ports = list 5432 -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end }}

{{/* The port of a URL. */}}
{{- define "forebay.urlPort" -}}
{{- $parts := urlParse . -}}
{{- default (ternary "443" "80" (eq $parts.scheme "https")) (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $parts.host)) -}}
{{- end }}
