// strict-decode FILE: decodes Kubernetes objects, one JSON object a line, with the published Go types of their kind, strictly: an
// unknown, misspelt or repeated field, or a value of a wrong type, is told with its line on stdout and ends it with 1.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubevirtv1 "kubevirt.io/api/core/v1"
	cdiv1beta1 "kubevirt.io/containerized-data-importer-api/pkg/apis/core/v1beta1"
	kjson "sigs.k8s.io/json"
)

// The kinds that imports create or patch.
var kinds = map[string]func() any{
	"v1/ConfigMap":                       func() any { return &corev1.ConfigMap{} },
	"v1/Event":                           func() any { return &corev1.Event{} },
	"v1/PersistentVolumeClaim":           func() any { return &corev1.PersistentVolumeClaim{} },
	"v1/Pod":                             func() any { return &corev1.Pod{} },
	"v1/Secret":                          func() any { return &corev1.Secret{} },
	"storage.k8s.io/v1/StorageClass":     func() any { return &storagev1.StorageClass{} },
	"kubevirt.io/v1/VirtualMachine":      func() any { return &kubevirtv1.VirtualMachine{} },
	"cdi.kubevirt.io/v1beta1/DataVolume": func() any { return &cdiv1beta1.DataVolume{} },
}

func check(line []byte) error {
	var meta metav1.TypeMeta
	if err := json.Unmarshal(line, &meta); err != nil {
		return err
	}
	make, known := kinds[meta.APIVersion+"/"+meta.Kind]
	if !known {
		return fmt.Errorf("no Go type for %s %s", meta.APIVersion, meta.Kind)
	}
	target := make()
	problems, err := kjson.UnmarshalStrict(line, target)
	if err != nil {
		return err
	}
	for _, problem := range problems {
		return fmt.Errorf("%s: %w", meta.Kind, problem)
	}
	var tree any
	if err := json.Unmarshal(line, &tree); err != nil {
		return err
	}
	if bad := unknownField(meta.Kind, tree, reflect.TypeOf(target)); bad != "" {
		return fmt.Errorf("%s is not a field", bad)
	}
	return nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: strict-decode FILE")
		os.Exit(2)
	}
	file, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	failed := false
	for number := 1; lines.Scan(); number++ {
		if err := check(lines.Bytes()); err != nil {
			fmt.Printf("line %d: %v\n", number, err)
			failed = true
		}
	}
	if lines.Err() != nil || failed {
		os.Exit(1)
	}
}
