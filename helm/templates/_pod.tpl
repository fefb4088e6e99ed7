{{/* (list root component [size]): the volume with the secrets' files, and a folder for what a program writes meanwhile. */}}
{{- define "forebay.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ if gt (len .) 2 }}{{ index . 2 | quote }}{{ else }}256Mi{{ end }}}
{{- with include "forebay.secrets" . | fromJsonArray }}
- name: secrets
  projected:
    # Readable by the pod's group.
    defaultMode: 0440
    sources:
      {{- range . }}
      - secret:
          name: {{ .name | quote }}
          items:
            - key: {{ .key | quote }}
              path: {{ .path | quote }}
      {{- end }}
{{- end }}
{{- end }}

{{/* (list root component) */}}
{{- define "forebay.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if include "forebay.secrets" . | fromJsonArray }}
- {name: secrets, mountPath: /etc/forebay/secrets, readOnly: true}
{{- end }}
{{- end }}

{{/* What stands at the head of every pod's spec. */}}
{{- define "forebay.podHead" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* (list root component-name component grace): how long a stop may take, and where the pods may run. */}}
{{- define "forebay.scheduling" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $given := index . 2 -}}
terminationGracePeriodSeconds: {{ index . 3 }}
{{- with $given.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $given.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $given.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $spread := $given.topologySpreadConstraints -}}
{{- if kindIs "invalid" $spread -}}
{{- $spread = list -}}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" -}}
{{- $spread = append $spread (dict "maxSkew" 1 "topologyKey" . "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end -}}
{{- end -}}
{{- with $spread }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        {{- include "forebay.selector" (list $root $name) | nindent 8 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- with $given.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $given.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{/* (list root component name given): annotations and labels of a pod. */}}
{{- define "forebay.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $given := index . 3 -}}
labels:
  {{- /* Without the chart's version: another one alone is no reason to restart anything. */}}
  {{- include "forebay.selector" (list $root (index . 2)) | nindent 2 }}
  {{- with $root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $given.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := merge (deepCopy ($given.podAnnotations | default dict)) $root.Values.commonAnnotations -}}
{{- if $root.Values.rollOnSecretChange -}}
{{- $_ := set $annotations "checksum/secrets" (include "forebay.secretsChecksum" (list $root (index . 1))) -}}
{{- end -}}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* (list root component): the settings stand in the pod's own variables; what stands in Secrets is looked up. */}}
{{- define "forebay.secretsChecksum" -}}
{{- $namespace := (index . 0).Release.Namespace -}}
{{- $seen := list -}}
{{- range include "forebay.secrets" . | fromJsonArray -}}
{{- $secret := lookup "v1" "Secret" $namespace .name | default dict -}}
{{- $seen = append $seen (get ($secret.data | default dict) .key) -}}
{{- end -}}
{{- toJson $seen | sha256sum -}}
{{- end }}

{{/* (list probe path [port]): an HTTP probe, at the port of the metrics where there is no other. */}}
{{- define "forebay.probe" -}}
httpGet: {path: {{ index . 1 }}, port: {{ if gt (len .) 2 }}{{ index . 2 }}{{ else }}metrics{{ end }}}
{{ toYaml (index . 0) }}
{{- end }}
