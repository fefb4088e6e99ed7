{{/*
What stands in the cluster otherwise than the values have it, and can't be changed there, as a JSON list of faults. Kubernetes refuses it,
too, but when the processors have changed already. A renderer without a cluster finds nothing.
*/}}
{{- define "forebay.standingFaults" -}}
{{- $faults := list -}}
{{- $name := printf "%s-ingest" (include "forebay.fullname" .) -}}
{{- $spool := .Values.ingest.spool -}}
{{- with ternary (lookup "apps/v1" "StatefulSet" .Release.Namespace $name) dict .Values.ingest.enabled -}}
{{- $claims := .spec.volumeClaimTemplates | default list -}}
{{- $changed := list -}}
{{- if ne (empty $claims) (eq $spool.mode "ephemeral") -}}
{{- $changed = append $changed "mode" -}}
{{- else -}}
{{- range $claims -}}
{{- $size := .spec.resources.requests.storage -}}
{{- /* Kubernetes writes some in another unit. */}}
{{- if and (regexMatch "^[0-9.]+([kMGT]|[KMGT]i)?$" $size) (ne (include "forebay.bytes" $size) (include "forebay.bytes" $spool.size)) -}}
{{- $changed = append $changed "size" -}}
{{- end -}}
{{- if ne (toJson .spec.storageClassName) (toJson $spool.storageClassName) -}}
{{- $changed = append $changed "storageClassName" -}}
{{- end -}}
{{- if ne (toJson .spec.accessModes) (toJson $spool.accessModes) -}}
{{- $changed = append $changed "accessModes" -}}
{{- end -}}
{{- if ne (toJson (.metadata.annotations | default dict)) (toJson $spool.annotations) -}}
{{- $changed = append $changed "annotations" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $changed -}}
{{- $faults = append $faults (printf "ingest.spool.%s: an upgrade can't change it. docs/kubernetes.md, \"The spool's volumes\", says what to do before: kubectl --namespace %s delete statefulset %s --cascade=orphan" . $.Release.Namespace $name) -}}
{{- end -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end }}
