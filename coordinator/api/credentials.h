#pragma once

#include "common/result.h"
#include "coordinator/kube/object.h"
#include "coordinator/provider/provider.h"

namespace vmferry::api {

// The provider's section of a credentials Secret (api.md 7): data key "ovirt" or "vmware", a YAML
// flat map of strings, scalars taken as their literal text. `data` is base64, `stringData` plain.
// InvalidArgument with VMF-REQ-SECRET-INVALID names the provider and the missing, empty or
// undecodable key; a value is never part of the text.
Result<ProviderCredentials> parse_credentials(ProviderKind kind, const kube::Object& secret);

}  // namespace vmferry::api
