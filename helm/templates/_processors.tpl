{{/* (list into from): takes each value of `from` into `into`. Sprig's own merge leaves out false, 0 and "". */}}
{{- define "forebay.mergeInto" -}}
{{- $into := index . 0 -}}
{{- range $key, $value := index . 1 -}}
{{- $old := get $into $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $old) -}}
{{- include "forebay.mergeInto" (list $old $value) -}}
{{- else -}}
{{- $_ := set $into $key $value -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* (list root name): the processor with its defaults, as JSON. */}}
{{- define "forebay.processor" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $processor := deepCopy $root.Values.processorDefaults -}}
{{- include "forebay.mergeInto" (list $processor (deepCopy (get $root.Values.processors $name))) -}}
{{- $_ := set $processor "name" $name -}}
{{- $_ := set $processor "fullname" (printf "%s-%s" (include "forebay.fullname" $root) $name) -}}
{{- $_ := set $processor "group" (default (printf "forebay-%s" $name) $processor.group) -}}
{{- $processor | toJson -}}
{{- end }}
