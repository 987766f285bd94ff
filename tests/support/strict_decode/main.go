// strict-decode reads JSON documents from standard input, one after another, and decodes each into the Go type that
// Kubernetes, KubeVirt and CDI publish for its apiVersion and kind. Unlike the API server it forgives nothing: a field
// that the type does not have, a field given twice, a name in the wrong case and a value of the wrong type are errors.
//
// It prints a line for each document ("ok KIND NAME" or "bad KIND NAME: cause") and ends with 1 if one was bad, with 2
// if its input is no JSON.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubevirtv1 "kubevirt.io/api/core/v1"
	instancetypev1beta1 "kubevirt.io/api/instancetype/v1beta1"
	cdiv1beta1 "kubevirt.io/containerized-data-importer-api/pkg/apis/core/v1beta1"
	strict "sigs.k8s.io/json"
)

func knownTypes() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		admissionv1.AddToScheme, apiextensionsv1.AddToScheme, appsv1.AddToScheme,
		authenticationv1.AddToScheme, authorizationv1.AddToScheme, batchv1.AddToScheme, coordinationv1.AddToScheme,
		corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme, storagev1.AddToScheme,
		kubevirtv1.AddToScheme, instancetypev1beta1.AddToScheme, cdiv1beta1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

func decode(scheme *runtime.Scheme, document []byte) (name string, err error) {
	var head struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(document, &head); err != nil {
		return "?", err
	}
	name = head.Kind + " " + head.Name
	object, err := scheme.New(schema.FromAPIVersionAndKind(head.APIVersion, head.Kind))
	if err != nil {
		return name, err
	}
	problems, err := strict.UnmarshalStrict(document, object)
	if err != nil {
		return name, err
	}
	var tree any
	if err := json.Unmarshal(document, &tree); err != nil {
		return name, err
	}
	if bad := unknownField(head.Kind, tree, reflect.TypeOf(object)); bad != "" {
		problems = append(problems, fmt.Errorf("unknown field %q", bad))
	}
	return name, errors.Join(problems...)
}

func main() {
	scheme, err := knownTypes()
	if err != nil {
		fmt.Fprintln(os.Stderr, "strict-decode:", err)
		os.Exit(2)
	}
	status := 0
	for input := json.NewDecoder(os.Stdin); ; {
		var document json.RawMessage
		if err := input.Decode(&document); err == io.EOF {
			os.Exit(status)
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "strict-decode: standard input:", err)
			os.Exit(2)
		}
		if name, err := decode(scheme, document); err != nil {
			fmt.Printf("bad %s: %v\n", name, err)
			status = 1
		} else {
			fmt.Printf("ok %s\n", name)
		}
	}
}
