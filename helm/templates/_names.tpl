{{/* Room is left for the longest suffix: names of Services and labels end at 63. */}}
{{- define "forebay.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 32 | trimSuffix "-" -}}
{{- end }}

{{- define "forebay.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "forebay.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{/* (list root component) */}}
{{- define "forebay.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | trunc 63 | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 | quote }}
{{- end }}

{{/* (list root component) */}}
{{- define "forebay.labels" -}}
{{- $root := index . 0 -}}
{{ include "forebay.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service | quote }}
app.kubernetes.io/part-of: forebay
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | quote }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (list root component [annotations]): what stands below `metadata:` of every object. */}}
{{- define "forebay.metadata" -}}
{{- $root := index . 0 -}}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- include "forebay.labels" (list $root (index . 1)) | nindent 2 }}
{{- $given := dict -}}
{{- if gt (len .) 2 -}}{{- $given = index . 2 | default dict -}}{{- end -}}
{{- with merge (deepCopy $given) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* (list root image-of-the-component) */}}
{{- define "forebay.image" -}}
{{- $root := index . 0 -}}
{{- $own := index . 1 -}}
{{- $image := deepCopy $root.Values.image -}}
{{- /* A digest names one image: whoever has a name or a tag of its own has another. */}}
{{- if or $own.repository $own.tag -}}{{- $_ := set $image "digest" "" -}}{{- end -}}
{{- range $key, $value := $own -}}{{- $_ := set $image $key $value -}}{{- end -}}
{{- $registry := default $image.registry $root.Values.global.imageRegistry -}}
{{- $name := ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end }}

{{/* (list root image-of-the-component) */}}
{{- define "forebay.pullPolicy" -}}
{{- default (index . 0).Values.image.pullPolicy (get (index . 1) "pullPolicy") -}}
{{- end }}
