{{/* Bytes of a Kubernetes quantity, rounded down. */}}
{{- define "forebay.bytes" -}}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $number := regexFind "^[0-9.]+" . -}}
{{- mulf (float64 $number) (get $factors (trimPrefix $number .)) | int64 -}}
{{- end }}

{{/*
(list pre-stop drain): what a stop takes at most, in seconds. Beside the grace of what runs there are five seconds until
a process that ignores it is killed, and ten for the last flush and commit on a busy machine.
*/}}
{{- define "forebay.stopSeconds" -}}
{{- add (int (index . 0)) (ceil (index . 1) | int) 15 -}}
{{- end }}

{{/* How many seconds an ingest may take to its first answer: it looks through what its spool holds. */}}
{{- define "forebay.startSeconds" -}}
{{- with .Values.ingest -}}
{{- default (add 60 (div (int64 .spool.maxBytes) 8388608)) .startupProbe.seconds | int -}}
{{- end -}}
{{- end }}
