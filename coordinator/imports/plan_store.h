#pragma once

#include <optional>

#include "coordinator/imports/pass.h"

// Where the plan stands from its decision on: a ConfigMap of the import's namespace. Whoever may
// edit ConfigMaps there may write it, and the coordinator creates what it says; so a plan is
// believed only with the coordinators' seal for this import (ledger_seal.h), and if everything it
// names is the import's own.
namespace vmferry::imports {

// The object that keeps the plan, sealed.
kube::Object plan_object(const Pass& pass, const ImportPlan& plan);

// Nothing: there is none. DataLoss with VMF-DST-NAME-TAKEN: what is there was not written by a
// coordinator for this import.
Result<std::optional<ImportPlan>> stored_plan(const Pass& pass);

// A plan of any other namespace, name or owner than the import's is none of its. DataLoss.
Result<void> check_own_plan(const ImportPlan& plan, const kube::ObjectKey& import,
                            const std::string& uid);

}  // namespace vmferry::imports
