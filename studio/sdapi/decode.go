package sdapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// Fault is what is wrong with one value of a request, in FastAPI's form.
type Fault struct {
	Loc  []any  `json:"loc"` // where it stands: "body", a field, the index in a list
	Msg  string `json:"msg"`
	Type string `json:"type"`
}

// fault says what is wrong with a field of the body.
func fault(field, kind, msg string, args ...any) Fault {
	return Fault{[]any{"body", field}, fmt.Sprintf(msg, args...), kind}
}

// decoder reads a body as FastAPI's models do: numbers may be texts of numbers, null is as good as nothing, and what no field has
// is left.
type decoder struct{ faults []Fault }

// decode reads a body into the struct that into points to, which begins with the defaults of its tags, and tells which fields were sent.
func decode(body []byte, into any) (sent map[string]bool, faults []Fault) {
	v, d := reflect.ValueOf(into).Elem(), new(decoder)
	if v.Kind() == reflect.Map {
		d.value(body, v, []any{"body"})
		return nil, d.faults
	}
	preset(v)
	sent = make(map[string]bool)
	d.object(body, v, []any{"body"}, sent)
	return sent, d.faults
}

// fields are those of a struct and of the structs that it embeds, by their names in JSON.
func fields(v reflect.Value, visit func(name string, f reflect.StructField, v reflect.Value)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			fields(v.Field(i), visit)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			visit(name, f, v.Field(i))
		}
	}
}

// preset gives the fields of a struct the defaults of their tags.
func preset(v reflect.Value) {
	fields(v, func(_ string, f reflect.StructField, v reflect.Value) {
		text, ok := f.Tag.Lookup("default")
		if !ok {
			return
		}
		raw := []byte(text)
		if elem(f.Type).Kind() == reflect.String {
			raw, _ = json.Marshal(text)
		}
		new(decoder).value(raw, v, nil)
	})
}

// elem is what a pointer points to, or the type itself.
func elem(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

func (d *decoder) refuse(loc []any, kind, msg string) {
	d.faults = append(d.faults, Fault{loc, msg, kind})
}

// object reads an object into a struct.
func (d *decoder) object(raw []byte, v reflect.Value, loc []any, sent map[string]bool) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		if e, ok := err.(*json.SyntaxError); ok {
			d.refuse(append(loc, e.Offset), "value_error.jsondecode", "no JSON: "+e.Error())
			return
		}
		d.refuse(loc, "type_error.dict", "value is not a valid dict")
		return
	}
	fields(v, func(name string, f reflect.StructField, v reflect.Value) {
		at := append(loc[:len(loc):len(loc)], name)
		one, ok := members[name]
		if !ok || string(one) == "null" {
			if f.Tag.Get("required") != "" {
				d.refuse(at, "value_error.missing", "field required")
			}
			return
		}
		if sent != nil {
			sent[name] = true
		}
		before := len(d.faults)
		if d.value(one, v, at); len(d.faults) == before {
			d.bounds(f, v, at)
		}
	})
}

// bounds holds a number to the tags min and max of its field.
func (d *decoder) bounds(f reflect.StructField, v reflect.Value, loc []any) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	number := 0.0
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		number = float64(v.Int())
	case reflect.Float64:
		number = v.Float()
	case reflect.Slice:
		number = float64(v.Len())
	default:
		return
	}
	if low, err := strconv.ParseFloat(f.Tag.Get("min"), 64); err == nil && number < low {
		d.refuse(loc, "value_error.number.not_ge", "ensure this value is greater than or equal to "+f.Tag.Get("min"))
	}
	if high, err := strconv.ParseFloat(f.Tag.Get("max"), 64); err == nil && number > high {
		d.refuse(loc, "value_error.number.not_le", "ensure this value is less than or equal to "+f.Tag.Get("max"))
	}
}

// value reads a value that is not null.
func (d *decoder) value(raw []byte, v reflect.Value, loc []any) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(raw, v.Elem(), loc)
	case reflect.Struct:
		d.object(raw, v, loc, nil)
	case reflect.Map:
		if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
			d.refuse(loc, "type_error.dict", "value is not a valid dict")
		}
	case reflect.Slice:
		d.list(raw, v, loc)
	default:
		d.scalar(raw, v, loc)
	}
}

// list reads an array, or keeps what is to be kept as it is.
func (d *decoder) list(raw []byte, v reflect.Value, loc []any) {
	if keep, ok := v.Addr().Interface().(*json.RawMessage); ok {
		*keep = bytes.Clone(raw)
		return
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		d.refuse(loc, "type_error.list", "value is not a valid list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, one := range items {
		d.value(one, v.Index(i), append(loc[:len(loc):len(loc)], i))
	}
}

// scalar reads a text, a number or a truth value.
func (d *decoder) scalar(raw []byte, v reflect.Value, loc []any) {
	var any any
	plain := json.NewDecoder(bytes.NewReader(raw))
	plain.UseNumber()
	if err := plain.Decode(&any); err != nil {
		d.refuse(loc, "value_error.jsondecode", "no JSON")
		return
	}
	switch v.Kind() {
	case reflect.String:
		if text, ok := toText(any); ok {
			v.SetString(text)
			return
		}
		d.refuse(loc, "type_error.str", "str type expected")
	case reflect.Bool:
		if b, ok := toBool(any); ok {
			v.SetBool(b)
			return
		}
		d.refuse(loc, "value_error.boolean", "value could not be parsed to a boolean")
	case reflect.Int, reflect.Int64:
		if n, ok := toInt(any); ok {
			v.SetInt(n)
			return
		}
		d.refuse(loc, "type_error.integer", "value is not a valid integer")
	case reflect.Float64:
		if f, ok := toFloat(any); ok {
			v.SetFloat(f)
			return
		}
		d.refuse(loc, "type_error.float", "value is not a valid float")
	}
}

// toText is a text, or what a number is written as.
func toText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	}
	return "", false
}

// toBool is a truth value in any of the ways in which pydantic knows them.
func toBool(v any) (value, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case json.Number, string:
		switch strings.ToLower(fmt.Sprint(v)) {
		case "1", "true", "on", "yes", "t", "y":
			return true, true
		case "0", "false", "off", "no", "f", "n":
			return false, true
		}
	}
	return false, false
}

// toInt is a whole number: 7, 7.0, "7" and true.
func toInt(v any) (int64, bool) {
	if b, ok := v.(bool); ok {
		if b {
			return 1, true
		}
		return 0, true
	}
	if n, ok := v.(int); ok {
		return int64(n), true
	}
	text, _ := toText(v)
	if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
		return n, true
	}
	f, ok := toFloat(v)
	return int64(f), ok && f == math.Trunc(f) && math.Abs(f) < 1<<53
}

// toFloat is a finite number.
func toFloat(v any) (float64, bool) {
	switch n := v.(type) {
	case float64:
		return n, true
	case int:
		return float64(n), true
	}
	text, ok := toText(v)
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}
