package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	vimNamespace = "urn:vim25"
	xsiNamespace = "http://www.w3.org/2001/XMLSchema-instance"
	envelopeOpen = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"` +
		` xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="` + xsiNamespace + `"><soapenv:Body>`
	envelopeClose = `</soapenv:Body></soapenv:Envelope>`
)

// element is one node of a request.
type element struct {
	name     xml.Name
	attrs    []xml.Attr
	children []*element
	text     string
}

func (e *element) child(local string) *element {
	for _, c := range e.children {
		if c.name.Local == local {
			return c
		}
	}
	return nil
}

// xsiType is the local part of xsi:type, empty when absent.
func (e *element) xsiType() string {
	for _, a := range e.attrs {
		if a.Name.Space == xsiNamespace && a.Name.Local == "type" {
			return a.Value[strings.LastIndex(a.Value, ":")+1:]
		}
	}
	return ""
}

// parseRequest answers with the one element of the envelope's body.
func parseRequest(body []byte) (*element, error) {
	root := &element{}
	stack := []*element{root}
	decoder := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		top := stack[len(stack)-1]
		switch t := token.(type) {
		case xml.StartElement:
			e := &element{name: t.Name, attrs: append([]xml.Attr(nil), t.Attr...)}
			top.children = append(top.children, e)
			if stack = append(stack, e); len(stack) > 64 {
				return nil, errors.New("elements nested too deep")
			}
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(t)
		case xml.Directive:
			return nil, errors.New("document type declarations are not taken")
		}
	}
	envelope := root.child("Envelope")
	if envelope == nil || envelope.child("Body") == nil || len(envelope.child("Body").children) != 1 {
		return nil, errors.New("not a SOAP envelope with one request")
	}
	return envelope.child("Body").children[0], nil
}

func writeEnvelope(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, envelopeOpen+body+envelopeClose)
}

// writeFault answers as a real server does: HTTP 500 and the fault's type twice. `detail` is XML.
func writeFault(w http.ResponseWriter, kind, message, detail string) {
	writeEnvelope(w, http.StatusInternalServerError, fmt.Sprintf(
		`<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>%s</faultstring>`+
			`<detail><%sFault xmlns="%s" xsi:type="%s">%s</%sFault></detail></soapenv:Fault>`,
		escapeText(message), kind, vimNamespace, kind, detail, kind))
}

func escapeText(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a bytes.Buffer does not fail
	return b.String()
}
