#pragma once

#include "coordinator/kube/object.h"

namespace vmferry::embedded {

// The only provisioner whose classes work without a cluster: directories and block devices.
inline constexpr const char* kDirectoryProvisioner = "vmferry.io/directory";

// The storage class that the coordinator makes where nobody applied one: the home's own directory,
// the default.
kube::Object standard_class();

}  // namespace vmferry::embedded
