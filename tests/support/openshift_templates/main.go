// Records what OpenShift makes of templates. Standard input: {"cases": [{"name", "template"}], "patterns": [TEXT]}. The
// same comes out with "objects" or "error" in each case, and each pattern as {"from", "length", "characters"} or
// {"from", "error"}.
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"

	templatev1 "github.com/openshift/api/template/v1"
	"github.com/openshift/library-go/pkg/template/generator"
	"github.com/openshift/library-go/pkg/template/templateprocessing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

type testCase struct {
	Name     string            `json:"name"`
	Template json.RawMessage   `json:"template"`
	Objects  []json.RawMessage `json:"objects,omitempty"`
	Error    string            `json:"error,omitempty"`
}

type pattern struct {
	From       string `json:"from"`
	Length     int    `json:"length,omitempty"`
	Characters string `json:"characters,omitempty"` // all that ever came out, sorted
	Error      string `json:"error,omitempty"`
}

// process gives a template to OpenShift's processor, as its API does after it has decoded and checked one.
func process(raw json.RawMessage) (objects []json.RawMessage, err error) {
	defer func() { // a pattern without characters, a list item that becomes null
		if cause := recover(); cause != nil {
			objects, err = nil, fmt.Errorf("panic: %v", cause)
		}
	}()
	var fields struct {
		Objects    []json.RawMessage      `json:"objects"`
		Parameters []templatev1.Parameter `json:"parameters"`
		Labels     map[string]string      `json:"labels"`
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	template := templatev1.Template{
		TypeMeta:     metav1.TypeMeta{APIVersion: "template.openshift.io/v1", Kind: "Template"},
		Parameters:   fields.Parameters,
		ObjectLabels: fields.Labels,
	}
	for _, object := range fields.Objects {
		template.Objects = append(template.Objects, runtime.RawExtension{Raw: object})
	}
	expression := generator.NewExpressionValueGenerator(rand.New(rand.NewSource(1)))
	processor := templateprocessing.NewProcessor(map[string]generator.Generator{"expression": expression})
	if errs := processor.Process(&template); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	for _, object := range template.Objects {
		text, err := json.Marshal(object)
		if err != nil {
			return nil, err
		}
		objects = append(objects, text)
	}
	return objects, nil
}

// Errors quote whole templates.
func short(text string) string {
	if len(text) > 120 {
		return text[:120] + "..."
	}
	return text
}

func sample(from string) (result pattern) {
	result.From = from
	defer func() {
		if cause := recover(); cause != nil {
			result = pattern{From: from, Error: fmt.Sprint(cause)}
		}
	}()
	expression := generator.NewExpressionValueGenerator(rand.New(rand.NewSource(1)))
	seen := map[string]bool{}
	for i := 0; i < 4000; i++ {
		value, err := expression.GenerateValue(from)
		if err != nil {
			return pattern{From: from, Error: err.Error()}
		}
		result.Length = len(value.(string))
		for _, character := range value.(string) {
			seen[string(character)] = true
		}
	}
	all := make([]string, 0, len(seen))
	for character := range seen {
		all = append(all, character)
	}
	sort.Strings(all)
	result.Characters = strings.Join(all, "")
	return result
}

func main() {
	var input struct {
		Cases    []testCase        `json:"cases"`
		Patterns []json.RawMessage `json:"patterns"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		fmt.Fprintln(os.Stderr, "standard input:", err)
		os.Exit(1)
	}
	var output struct {
		Cases    []testCase `json:"cases"`
		Patterns []pattern  `json:"patterns"`
	}
	for _, c := range input.Cases {
		c.Objects, c.Error = nil, ""
		if objects, err := process(c.Template); err != nil {
			c.Error = short(err.Error())
		} else {
			c.Objects = objects
		}
		output.Cases = append(output.Cases, c)
	}
	for _, raw := range input.Patterns { // plain text, or what an earlier run recorded
		var recorded pattern
		if json.Unmarshal(raw, &recorded.From) != nil && json.Unmarshal(raw, &recorded) != nil {
			fmt.Fprintln(os.Stderr, "no pattern:", string(raw))
			os.Exit(1)
		}
		output.Patterns = append(output.Patterns, sample(recorded.From))
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(output); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
