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

{{/* (list root component): the ports of the addresses without which it can't do its work, beside the queue's, as a JSON list. */}}
{{- define "forebay.calledPorts" -}}
{{- $values := (index . 0).Values -}}
{{- $urls := list $values.schemaRegistry.url -}}
{{- if eq $values.queue.type "kafka" -}}
{{- $urls = append $urls (get (include "forebay.kafkaProperties" (index . 0) | fromJson) "sasl.oauthbearer.token.endpoint.url") -}}
{{- end -}}
{{- if eq (index . 1) "ingest" -}}
{{- $settings := merge (deepCopy $values.ingest.settings) $values.settings -}}
{{- if has "registry" $values.auth.policies -}}
{{- $urls = concat $urls (default (list "https://oauth.bitrix24.tech/rest") $settings.oauth_urls) -}}
{{- end -}}
{{- $urls = append $urls (dig "callers" "allow_url" "" $settings) -}}
{{- end -}}
{{- $ports := list -}}
{{- range compact $urls -}}
{{- $ports = append $ports (include "forebay.urlPort" . | int) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end }}
