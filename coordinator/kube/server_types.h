#pragma once

#include "coordinator/kube/optional_types.h"

// Kinds that only a real cluster has: no name of theirs on our command line (object.h lists those).
namespace vmferry::kube::types {

// Created, never stored: the answer of create() has the status.
extern const ResourceType kTokenReview, kSubjectAccessReview, kSelfSubjectAccessReview;
extern const ResourceType kNode, kServiceAccount, kResourceQuota, kCustomResourceDefinition;
extern const ResourceType kInstancetype, kPreference;

}  // namespace vmferry::kube::types
