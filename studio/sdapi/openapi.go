package sdapi

import (
	"encoding/json"
	"html/template"
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// schema is what a Go type is in OpenAPI 3.1.
func schema(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		s := schema(t.Elem())
		if kind, ok := s["type"].(string); ok {
			s["type"] = []string{kind, "null"}
		}
		return s
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Slice:
		if t == reflect.TypeFor[json.RawMessage]() {
			return map[string]any{}
		}
		return map[string]any{"type": "array", "items": schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schema(t.Elem())}
	case reflect.Struct:
		return structure(t)
	}
	return map[string]any{}
}

// structure is the schema of a struct, by the tags of its fields.
func structure(t reflect.Type) map[string]any {
	properties, required := make(map[string]any), []string{}
	fields(reflect.New(t).Elem(), func(name string, f reflect.StructField, _ reflect.Value) {
		s := schema(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			s["description"] = doc
		}
		if text, ok := f.Tag.Lookup("default"); ok {
			s["default"] = json.RawMessage(text)
			if elem(f.Type).Kind() == reflect.String {
				s["default"] = text
			}
		}
		low, high := "minimum", "maximum"
		if elem(f.Type).Kind() == reflect.Slice {
			low, high = "minItems", "maxItems"
		}
		for tag, word := range map[string]string{"min": low, "max": high} {
			if n, err := strconv.Atoi(f.Tag.Get(tag)); err == nil {
				s[word] = n
			}
		}
		if f.Tag.Get("required") != "" {
			required = append(required, name)
		}
		properties[name] = s
	})
	s := map[string]any{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// openAPI describes the routes.
func openAPI(routes []route) map[string]any {
	paths := make(map[string]map[string]any)
	for _, one := range routes {
		operation := map[string]any{"summary": one.summary, "operationId": strings.ToLower(one.method) + strings.NewReplacer("/", "_", "-", "_").Replace(one.path)}
		if one.request != nil {
			operation["requestBody"] = map[string]any{"required": one.needed, "content": jsonOf(schema(one.request))}
		}
		var parameters []any
		for _, name := range one.query {
			parameters = append(parameters, map[string]any{"name": name, "in": "query", "schema": map[string]any{"type": "string"}})
		}
		if parameters != nil {
			operation["parameters"] = parameters
		}
		answer := map[string]any{"description": "done"}
		if one.reply != nil {
			answer["content"] = jsonOf(schema(one.reply))
		}
		operation["responses"] = map[string]any{
			"200":     answer,
			"default": map[string]any{"description": "why it cannot be done", "content": jsonOf(map[string]any{"$ref": "#/components/schemas/Error"})},
		}
		if paths[one.path] == nil {
			paths[one.path] = make(map[string]any)
		}
		paths[one.path][strings.ToLower(one.method)] = operation
	}
	text := map[string]any{"type": "string"}
	faults := map[string]any{"type": "array", "items": schema(reflect.TypeFor[Fault]())}
	return map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "Atelier: the web UI's API", "version": "1",
			"description": "What programs for AUTOMATIC1111's web UI speak, under the same names.",
		},
		"paths": paths,
		"components": map[string]any{"schemas": map[string]any{"Error": map[string]any{
			"type": "object", "properties": map[string]any{"error": text, "detail": map[string]any{"anyOf": []any{text, faults}}, "body": text, "errors": text},
		}}},
	}
}

func jsonOf(schema map[string]any) map[string]any {
	return map[string]any{"application/json": map[string]any{"schema": schema}}
}

// docs is the page that lists the routes.
var docs = template.Must(template.New("docs").Funcs(template.FuncMap{"fields": documented}).Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>The web UI's API</title></head><body>
<h1>The web UI's API</h1>
<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>
{{range .}}<h2>{{.Method}} {{.Path}}</h2>
<p>{{.Summary}}</p>
{{with fields .Request}}<table><thead><tr><th>Field</th><th>Default</th><th>What it is</th></tr></thead><tbody>
{{range .}}<tr><td><code>{{.Name}}</code></td><td><code>{{.Default}}</code></td><td>{{.Doc}}</td></tr>
{{end}}</tbody></table>{{end}}
{{end}}</body></html>
`))

// Method, Path, Summary and Request are for the page.
func (r route) Method() string        { return r.method }
func (r route) Path() string          { return r.path }
func (r route) Summary() string       { return r.summary }
func (r route) Request() reflect.Type { return r.request }

// documentedField is a row of the page.
type documentedField struct{ Name, Default, Doc string }

// documented are the fields of a request.
func documented(t reflect.Type) (rows []documentedField) {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	fields(reflect.New(t).Elem(), func(name string, f reflect.StructField, _ reflect.Value) {
		value, ok := f.Tag.Lookup("default")
		switch {
		case !ok:
			value = "null"
		case elem(f.Type).Kind() == reflect.String:
			value = strconv.Quote(value)
		}
		rows = append(rows, documentedField{name, value, f.Tag.Get("doc")})
	})
	return rows
}

// page answers with the list of routes.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	if err := docs.Execute(&b, s.routes); err != nil {
		s.answer(w, r, nil, err)
		return
	}
	send(w, r, http.StatusOK, "text/html; charset=utf-8", []byte(b.String()))
}
