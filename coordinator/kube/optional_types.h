#pragma once

#include "coordinator/kube/object.h"

// Kinds that a cluster may have, and that only improve a decision.
namespace vmferry::kube::types {

extern const ResourceType kClusterPreference, kClusterInstancetype;

}  // namespace vmferry::kube::types
