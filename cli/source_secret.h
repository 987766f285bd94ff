#pragma once

#include <string>

#include "cli/context.h"
#include "coordinator/provider/provider.h"

namespace vmferry::cli {

// The account that a user names with --secret: a file with a Secret as it is applied (alone or
// among other documents; "-" is standard input), or the name of a Secret in the home's store.
// Whether it is an oVirt or a VMware account is told by its data key. InvalidArgument with
// VMF-REQ-SECRET-INVALID or VMF-REQ-MANIFEST, NotFound with VMF-REQ-SECRET-MISSING.
Result<ProviderCredentials> load_source_secret(Context& context, const std::string& file_or_name);

// The same of a Secret that was read already.
Result<ProviderCredentials> credentials_of(const kube::Object& secret);

}  // namespace vmferry::cli
