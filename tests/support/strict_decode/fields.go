package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// KubeVirt decodes some of its structs with methods of their own, which forget strictness: their fields are compared here
// by name instead.

var unmarshaler = reflect.TypeOf((*json.Unmarshaler)(nil)).Elem()

// fieldsOf returns the JSON names of a struct's fields, embedded ones included.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := 0; i < t.NumField(); i++ {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == "" && (field.Anonymous || strings.Contains(options, "inline")) {
			inner := field.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			for key, kind := range fieldsOf(inner) {
				fields[key] = kind
			}
			continue
		}
		if name == "" {
			name = field.Name
		}
		fields[name] = field.Type
	}
	return fields
}

// unknownField names the first key of value that the type has no field for; "" when there is none.
func unknownField(path string, value any, t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	decodesItself := reflect.PointerTo(t).Implements(unmarshaler)
	if decodesItself && !strings.HasPrefix(t.PkgPath(), "kubevirt.io/") {
		return "" // a quantity, a time, a raw object
	}
	switch typed := value.(type) {
	case map[string]any:
		if t.Kind() == reflect.Map {
			for key, item := range typed {
				if bad := unknownField(path+"."+key, item, t.Elem()); bad != "" {
					return bad
				}
			}
			return ""
		}
		if t.Kind() != reflect.Struct {
			return fmt.Sprintf("%s: an object where there is %s", path, t)
		}
		fields := fieldsOf(t)
		for key, item := range typed {
			kind, known := fields[key]
			if !known {
				return path + "." + key
			}
			if bad := unknownField(path+"."+key, item, kind); bad != "" {
				return bad
			}
		}
	case []any:
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			return fmt.Sprintf("%s: a list where there is %s", path, t)
		}
		for i, item := range typed {
			if bad := unknownField(fmt.Sprintf("%s[%d]", path, i), item, t.Elem()); bad != "" {
				return bad
			}
		}
	}
	return ""
}
