#pragma once

#include "coordinator/kube/object.h"

namespace vmferry::embedded {

// The storage class that the coordinator makes where nobody applied one: the home's own directory,
// the default.
kube::Object standard_class();

}  // namespace vmferry::embedded
