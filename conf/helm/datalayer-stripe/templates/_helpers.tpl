{{/* The value of the label `app`: the name of the chart without Datalayer's prefix. */}}
{{- define "stripe.app-name" -}}
{{- .Chart.Name | replace "datalayer-" "" -}}
{{- end -}}

{{- define "stripe.service-name" -}}
{{- printf "%s-svc" (.Release.Name | trunc 59 | trimSuffix "-") -}}
{{- end -}}

{{- define "stripe.metrics-service-name" -}}
{{- printf "%s-metrics" (.Release.Name | trunc 55 | trimSuffix "-") -}}
{{- end -}}

{{- define "stripe.service-account-name" -}}
{{- .Values.stripe.serviceAccount.name | default .Release.Name -}}
{{- end -}}

{{- define "stripe.image" -}}
{{- .Values.stripe.image | default (printf "datalayer/datalayer-stripe:%s" .Chart.AppVersion) -}}
{{- end -}}

{{/* Labels by which a Deployment, a Service and policies find the pods. They must never change. */}}
{{- define "stripe.selector" -}}
app: {{ template "stripe.app-name" . }}
release: {{ .Release.Name }}
{{- end -}}

{{- define "stripe.labels" -}}
{{ include "stripe.selector" . }}
datalayer.io/app: {{ template "stripe.app-name" . }}
chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
heritage: {{ .Release.Service }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
