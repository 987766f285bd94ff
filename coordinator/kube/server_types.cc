#include "coordinator/kube/server_types.h"

namespace vmferry::kube::types {

const ResourceType kTokenReview{"authentication.k8s.io/v1", "TokenReview", "tokenreviews", false};
const ResourceType kSubjectAccessReview{"authorization.k8s.io/v1", "SubjectAccessReview",
                                        "subjectaccessreviews", false};
const ResourceType kSelfSubjectAccessReview{"authorization.k8s.io/v1", "SelfSubjectAccessReview",
                                            "selfsubjectaccessreviews", false};
const ResourceType kNode{"v1", "Node", "nodes", false};
const ResourceType kServiceAccount{"v1", "ServiceAccount", "serviceaccounts", true};
const ResourceType kResourceQuota{"v1", "ResourceQuota", "resourcequotas", true};
const ResourceType kCustomResourceDefinition{"apiextensions.k8s.io/v1", "CustomResourceDefinition",
                                             "customresourcedefinitions", false};
const ResourceType kInstancetype{"instancetype.kubevirt.io/v1beta1", "VirtualMachineInstancetype",
                                 "virtualmachineinstancetypes", true};
const ResourceType kPreference{"instancetype.kubevirt.io/v1beta1", "VirtualMachinePreference",
                               "virtualmachinepreferences", true};

}  // namespace vmferry::kube::types
