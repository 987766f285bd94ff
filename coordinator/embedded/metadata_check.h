#pragma once

#include <string>
#include <string_view>

#include "coordinator/kube/object.h"

namespace vmferry::embedded {

// InvalidArgument with VMF-REQ-MANIFEST: "<path> <what>".
Error invalid_field(std::string_view path, std::string_view what);

// The API's rules for metadata: DNS names, label syntax, sizes, shapes of lists and maps.
Result<void> check_metadata(const kube::ResourceType& type, const kube::Object& object);

}  // namespace vmferry::embedded
