{{- define "portico.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "portico.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "portico.labels" -}}
{{ include "portico.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The names of the Secrets with certificates, as JSON. */}}
{{- define "portico.secrets" -}}
{{- $names := .Values.tls.secrets -}}
{{- if .Values.tls.certificate -}}
{{- $names = prepend $names (printf "%s-tls" (include "portico.name" .)) -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* portico.toml. JSON's strings and lists of strings are TOML's as well. */}}
{{- define "portico.config" -}}
{{- $tls := .Values.tls -}}
{{- $ports := .Values.service.ports -}}
[preview]
listen = "0.0.0.0:8080"
zones = {{ toJson .Values.zones }}
default_visibility = {{ toJson .Values.defaultVisibility }}
public_scheme = {{ .Values.publicScheme | default (ternary "https" "http" $tls.enabled) | toJson }}
public_port = {{ .Values.publicPort | default (ternary $ports.https $ports.http $tls.enabled) | int }}
{{- if $tls.enabled }}

[tls]
listen = "0.0.0.0:8443"
certificates = [
{{- range fromJsonArray (include "portico.secrets" .) }}
  { certificate = "/etc/portico/tls/{{ . }}/tls.crt", key = "/etc/portico/tls/{{ . }}/tls.key" },
{{- end }}
]
redirect = {{ $tls.redirect }}
hsts = {{ ternary "0" (toJson $tls.hsts) (eq $tls.hsts "0") }}
{{- end }}

[api]
listen = "0.0.0.0:8081"

[admin]
listen = "0.0.0.0:8082"

[store]
data = "/var/lib/portico"

[networks]
allow = {{ toJson .Values.networks.allow }}
deny = {{ toJson .Values.networks.deny }}
proxy_protocol_from = {{ toJson .Values.networks.proxyProtocolFrom }}
trusted_proxies = {{ toJson .Values.networks.trustedProxies }}

[log]
format = "json"
{{- with .Values.extraConfig }}

{{ . | trim }}
{{- end }}
{{- end -}}
