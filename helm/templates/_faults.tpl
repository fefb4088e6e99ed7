{{/* What values.schema.json can't say: every fault as a sentence, as a JSON list. Types are right when it is asked. */}}
{{- define "forebay.faults" -}}
{{- $faults := list -}}
{{- range list "queueFaults" "authFaults" "ingestFaults" "standingFaults" -}}
{{- $faults = concat $faults (include (printf "forebay.%s" .) $ | fromJsonArray) -}}
{{- end -}}
{{- range $name, $_ := .Values.processors -}}
{{- $faults = concat $faults (include "forebay.processorFaults" (list $ $name) | fromJsonArray) -}}
{{- end -}}
{{- if and (not .Values.ingest.enabled) (not .Values.processors) -}}
{{- $faults = append $faults "ingest.enabled is false and processors is empty: there would be nothing" -}}
{{- end -}}
{{- if and .Values.canary.enabled (not .Values.ingest.enabled) (not .Values.canary.url) -}}
{{- $faults = append $faults "canary.url: say where the ingest is, as there is none in this release" -}}
{{- end -}}
{{- if and .Values.web.enabled (not .Values.web.password.existingSecret) -}}
{{- $faults = append $faults "web.password.existingSecret: the operators' page needs it, as events are personal data" -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end }}

{{- define "forebay.queueFaults" -}}
{{- $faults := list -}}
{{- if eq .Values.queue.type "kafka" -}}
{{- if not .Values.kafka.brokers -}}
{{- $faults = append $faults "kafka.brokers: name at least one, as host:port; this chart brings no Kafka" -}}
{{- end -}}
{{- with .Values.kafka.sasl -}}
{{- if and (eq .mechanism "OAUTHBEARER") (not (and .oauthbearer.tokenEndpointUrl .oauthbearer.clientId .oauthbearer.existingSecret)) -}}
{{- $faults = append $faults "kafka.sasl.oauthbearer: OAUTHBEARER needs tokenEndpointUrl, clientId and existingSecret" -}}
{{- end -}}
{{- if and .mechanism (ne .mechanism "OAUTHBEARER") (not (and .existingSecret (or .username .usernameKey))) -}}
{{- $faults = append $faults (printf "kafka.sasl: %s needs existingSecret for the password, and username or usernameKey" .mechanism) -}}
{{- end -}}
{{- if and .username .usernameKey -}}
{{- $faults = append $faults "kafka.sasl: username and usernameKey say the same thing; one of them must go" -}}
{{- end -}}
{{- if and (not .mechanism) (or .existingSecret .username) -}}
{{- $faults = append $faults "kafka.sasl.mechanism: a login needs one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER" -}}
{{- end -}}
{{- end -}}
{{- with .Values.kafka.tls -}}
{{- if and (not .enabled) (or .caSecret .clientSecret) -}}
{{- $faults = append $faults "kafka.tls.enabled: caSecret and clientSecret are for TLS, which is off" -}}
{{- end -}}
{{- end -}}
{{- $faults = concat $faults (include "forebay.clearSecrets" (list "kafka" .Values.kafka.properties) | fromJsonArray) -}}
{{- else -}}
{{- if not .Values.queueUrl.existingSecret -}}
{{- $faults = append $faults "queueUrl.existingSecret: name the Secret with the URL of the queue" -}}
{{- end -}}
{{- if eq .Values.topics.mode "strimzi" -}}
{{- $faults = append $faults "topics.mode: strimzi is for queue.type kafka" -}}
{{- end -}}
{{- end -}}
{{- $faults = concat $faults (include "forebay.clearSecrets" (list "schemaRegistry" .Values.schemaRegistry.properties) | fromJsonArray) -}}
{{- if and (eq .Values.topics.mode "strimzi") (not .Values.topics.strimzi.cluster) -}}
{{- $faults = append $faults "topics.strimzi.cluster: name the Kafka object" -}}
{{- end -}}
{{- if gt (int .Values.topics.strimzi.minInsyncReplicas) (int .Values.topics.strimzi.replicas) -}}
{{- $faults = append $faults "topics.strimzi.minInsyncReplicas: can't be more than replicas" -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end }}

{{/* (list name properties): those that are secrets, and stand there in clear. */}}
{{- define "forebay.clearSecrets" -}}
{{- $name := index . 0 -}}
{{- $faults := list -}}
{{- range $property, $_ := index . 1 -}}
{{- if regexMatch "password|passphrase|secret|token$|\\.key$|key\\.pem|user\\.info" (lower $property) -}}
{{- $faults = append $faults (printf "%s.properties: %s is a secret; name where it stands in %s.secretProperties" $name $property $name) -}}
{{- end -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end }}

{{- define "forebay.authFaults" -}}
{{- $faults := list -}}
{{- $auth := .Values.auth -}}
{{- if .Values.ingest.enabled -}}
{{- if $auth.endpoints.existingSecret -}}
{{- if or $auth.policies $auth.tokens.existingSecret $auth.urlSecret.existingSecret -}}
{{- $faults = append $faults "auth.endpoints: has the policies, tokens and secrets of each endpoint; leave the others of auth out" -}}
{{- end -}}
{{- else if not $auth.policies -}}
{{- $faults = append $faults "auth.policies: say what proves a call: [tokens], [url-secret], both, or [none] if really everybody may send events" -}}
{{- else -}}
{{- if and (has "none" $auth.policies) (gt (len $auth.policies) 1) -}}
{{- $faults = append $faults "auth.policies: none lets everybody in, so nothing may stand beside it" -}}
{{- end -}}
{{- if has "registry" $auth.policies -}}
{{- if not .Values.sealing.existingSecret -}}
{{- $faults = append $faults "sealing.existingSecret: the policy registry needs it, as the tokens of portals are kept hashed with a key" -}}
{{- end -}}
{{- if not (or .Values.settings.client_id .Values.ingest.settings.client_id) -}}
{{- $faults = append $faults "settings.client_id: the policy registry needs it: the application's, from its page in Bitrix24" -}}
{{- end -}}
{{- end -}}
{{- range $policy, $secret := dict "tokens" "tokens" "url-secret" "urlSecret" -}}
{{- $given := (get $auth $secret).existingSecret -}}
{{- if and (has $policy $auth.policies) (not $given) -}}
{{- $faults = append $faults (printf "auth.%s.existingSecret: the policy %s needs it" $secret $policy) -}}
{{- end -}}
{{- if and $given (not (has $policy $auth.policies)) -}}
{{- $faults = append $faults (printf "auth.%s.existingSecret: nobody reads it, as auth.policies has no %s" $secret $policy) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end }}

{{- define "forebay.ingestFaults" -}}
{{- $faults := list -}}
{{- with .Values.ingest -}}
{{- if .enabled -}}
{{- $least := include "forebay.stopSeconds" (list .preStopSeconds .drainSeconds) | int -}}
{{- if and .terminationGracePeriodSeconds (lt (int .terminationGracePeriodSeconds) $least) -}}
{{- $faults = append $faults (printf "ingest.terminationGracePeriodSeconds: %d is too short; a stop takes up to %d s (preStopSeconds + drainSeconds + 15), and what is killed before may be lost" (int .terminationGracePeriodSeconds) $least) -}}
{{- end -}}
{{- $room := mulf 1.5 (int64 .spool.maxBytes) | int64 -}}
{{- if lt (include "forebay.bytes" .spool.size | int64) $room -}}
{{- $faults = append $faults (printf "ingest.spool.size: %s is too small; maxBytes needs half as much again beside it, %d bytes in all" .spool.size $room) -}}
{{- end -}}
{{- if eq (int .port) (int .metricsPort) -}}
{{- $faults = append $faults "ingest.metricsPort: needs another port than ingest.port" -}}
{{- end -}}
{{- if eq .autoscaling.type "hpa" -}}
{{- if gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas) -}}
{{- $faults = append $faults "ingest.autoscaling.minReplicas: can't be more than maxReplicas" -}}
{{- end -}}
{{- if not (dig "requests" "cpu" "" .resources) -}}
{{- $faults = append $faults "ingest.resources.requests.cpu: hpa measures by it" -}}
{{- end -}}
{{- end -}}
{{- range $of, $types := dict "externalTrafficPolicy" (list "NodePort" "LoadBalancer") "loadBalancerClass" (list "LoadBalancer") -}}
{{- if and (get $.Values.ingest.service $of) (not (has $.Values.ingest.service.type $types)) -}}
{{- $faults = append $faults (printf "ingest.service.%s: is for a service.type of %s" $of (join " or " $types)) -}}
{{- end -}}
{{- end -}}
{{- if and .ingress.enabled (not .ingress.hosts) -}}
{{- $faults = append $faults "ingest.ingress.hosts: name at least one" -}}
{{- end -}}
{{- if and .httpRoute.enabled (not .httpRoute.parentRefs) -}}
{{- $faults = append $faults "ingest.httpRoute.parentRefs: name the Gateway" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end }}

{{/* (list root name) */}}
{{- define "forebay.processorFaults" -}}
{{- $faults := list -}}
{{- $root := index . 0 -}}
{{- $at := printf "processors.%s" (index . 1) -}}
{{- with include "forebay.processor" . | fromJson -}}
{{- if not .handlers -}}
{{- $faults = append $faults (printf "%s.handlers: name them, as in shop.crm:handlers" $at) -}}
{{- end -}}
{{- $least := include "forebay.stopSeconds" (list 0 .drainSeconds) | int -}}
{{- if and .terminationGracePeriodSeconds (lt (int .terminationGracePeriodSeconds) $least) -}}
{{- $faults = append $faults (printf "%s.terminationGracePeriodSeconds: %d is too short; a stop takes up to %d s (drainSeconds + 15), and what is killed before comes again" $at (int .terminationGracePeriodSeconds) $least) -}}
{{- end -}}
{{- $partitions := int $root.Values.queue.partitions -}}
{{- $scaled := ne .autoscaling.type "none" -}}
{{- $most := ternary .autoscaling.maxReplicas .replicas $scaled | int -}}
{{- if gt (mul $most (int .processes)) $partitions -}}
{{- $faults = append $faults (printf "%s.%s: %d pods of %d processes are more than the %d partitions; the rest would have nothing to do" $at (ternary "autoscaling.maxReplicas" "replicas" $scaled) $most (int .processes) $partitions) -}}
{{- end -}}
{{- if and $scaled (gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas)) -}}
{{- $faults = append $faults (printf "%s.autoscaling.minReplicas: can't be more than maxReplicas" $at) -}}
{{- end -}}
{{- if and (eq .autoscaling.type "hpa") (not (dig "requests" "cpu" "" .resources)) -}}
{{- $faults = append $faults (printf "%s.resources.requests.cpu: hpa measures by it" $at) -}}
{{- end -}}
{{- if eq .autoscaling.type "keda" -}}
{{- $keda := .autoscaling.keda -}}
{{- if and (eq $keda.trigger "prometheus") (not $keda.prometheus.serverAddress) -}}
{{- $faults = append $faults (printf "%s.autoscaling.keda.prometheus.serverAddress: name your Prometheus" $at) -}}
{{- end -}}
{{- if and $keda.fallback.replicas (gt (int $keda.fallback.replicas) (int .autoscaling.maxReplicas)) -}}
{{- $faults = append $faults (printf "%s.autoscaling.keda.fallback.replicas: can't be more than maxReplicas" $at) -}}
{{- end -}}
{{- if eq $keda.trigger "kafka" -}}
{{- if ne $root.Values.queue.type "kafka" -}}
{{- $faults = append $faults (printf "%s.autoscaling.keda.trigger: kafka is for queue.type kafka" $at) -}}
{{- end -}}
{{- $sasl := $root.Values.kafka.sasl -}}
{{- if and (not $keda.authenticationRef) (or (eq $sasl.mechanism "OAUTHBEARER") (and $sasl.mechanism (not $sasl.usernameKey))) -}}
{{- $faults = append $faults (printf "%s.autoscaling.keda.authenticationRef: KEDA can't log in by what is given; put the user into the Secret (kafka.sasl.usernameKey), or name a TriggerAuthentication of your own" $at) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $faults | toJson -}}
{{- end }}
