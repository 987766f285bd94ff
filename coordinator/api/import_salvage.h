#pragma once

#include "coordinator/api/import.h"

namespace vmferry::api {

// What can be read of an import that parse_import() refuses: enough to tell its author what is
// wrong with it, and to undo by its ledger what was made for it. Parts that cannot be read are as
// if they were absent, but there is always a source section.
VirtualMachineImport salvage_import(const kube::Object& object);

}  // namespace vmferry::api
