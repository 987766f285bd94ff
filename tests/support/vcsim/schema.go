package main

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// A real server reads a request by its schema: children in schema order, those of base types first, required ones
// present, nothing unknown. The simulator takes any order. govmomi's structs were generated from that schema and keep
// its order, so they serve as the table.

var (
	typeOf     = types.TypeFunc()
	timeType   = reflect.TypeOf(time.Time{})
	objectType = reflect.TypeOf(types.ManagedObjectReference{})
)

// checkRequest answers with what a real server would complain about.
func checkRequest(request *element) error {
	t, ok := typeOf(request.name.Local)
	if !ok || t.Kind() != reflect.Struct {
		return fmt.Errorf("Unable to resolve WSDL method name %s", request.name.Local)
	}
	if request.name.Space != vimNamespace {
		return fmt.Errorf("method %s is in the namespace %q, not %q", request.name.Local, request.name.Space, vimNamespace)
	}
	return checkStruct(request, t)
}

type schemaField struct {
	name               string
	kind               reflect.Type
	required, repeated bool
}

func schemaFields(t reflect.Type) (fields []schemaField) {
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		if f.Anonymous {
			fields = append(fields, schemaFields(f.Type)...)
			continue
		}
		parts := strings.Split(f.Tag.Get("xml"), ",")
		flags := "," + strings.Join(parts[1:], ",") + ","
		if strings.Contains(flags, ",attr,") || strings.Contains(flags, ",chardata,") {
			continue
		}
		name := parts[0]
		if name == "" {
			name = strings.ToLower(f.Name[:1]) + f.Name[1:]
		}
		kind := f.Type
		repeated := kind.Kind() == reflect.Slice && kind.Elem().Kind() != reflect.Uint8
		required := !strings.Contains(flags, ",omitempty,") && kind.Kind() != reflect.Ptr
		if repeated {
			kind = kind.Elem()
		}
		for kind.Kind() == reflect.Ptr {
			kind = kind.Elem()
		}
		fields = append(fields, schemaField{name, kind, required, repeated})
	}
	return fields
}

func checkStruct(e *element, t reflect.Type) error {
	if text := strings.TrimSpace(e.text); text != "" {
		return fmt.Errorf("unexpected text %q in element %s", text, e.name.Local)
	}
	at := 0
	for _, f := range schemaFields(t) {
		seen := 0
		for at < len(e.children) && e.children[at].name.Local == f.name && (f.repeated || seen == 0) {
			child := e.children[at]
			if child.name.Space != vimNamespace {
				return fmt.Errorf("element %s is in the namespace %q", f.name, child.name.Space)
			}
			if err := checkValue(child, f.kind); err != nil {
				return err
			}
			at, seen = at+1, seen+1
		}
		if f.required && seen == 0 {
			found := "the end of " + e.name.Local
			if at < len(e.children) {
				found = e.children[at].name.Local
			}
			return fmt.Errorf("missing required element %s: found %s while parsing %s", f.name, found, e.name.Local)
		}
	}
	if at < len(e.children) {
		return fmt.Errorf("unexpected element tag %q seen while parsing %s", e.children[at].name.Local, e.name.Local)
	}
	return nil
}

func checkValue(e *element, t reflect.Type) error {
	if t.Kind() == reflect.Interface {
		concrete := e.xsiType()
		if concrete == "" {
			concrete = strings.TrimPrefix(t.Name(), "Base")
		}
		found, ok := typeOf(concrete)
		if !ok { // AnyType holding xsd:string and the like
			if t.NumMethod() == 0 {
				return nil
			}
			return fmt.Errorf("unknown type %q of element %s", concrete, e.name.Local)
		}
		if t.NumMethod() > 0 && !reflect.PtrTo(found).Implements(t) {
			return fmt.Errorf("type %s does not fit element %s", concrete, e.name.Local)
		}
		if found.Kind() != reflect.Struct || t.NumMethod() == 0 {
			return nil
		}
		return checkValue(e, found)
	}
	if t.Kind() == reflect.Struct && t != timeType && t != objectType {
		return checkStruct(e, t)
	}
	if len(e.children) > 0 {
		return fmt.Errorf("element %s holds elements where its type has none", e.name.Local)
	}
	text, err := strings.TrimSpace(e.text), error(nil)
	switch t.Kind() {
	case reflect.Bool:
		_, err = strconv.ParseBool(text)
	case reflect.Int16, reflect.Int32, reflect.Int64:
		_, err = strconv.ParseInt(text, 10, t.Bits())
	}
	if err != nil {
		return fmt.Errorf("element %s: %q is not a %s", e.name.Local, text, t.Kind())
	}
	return nil
}
