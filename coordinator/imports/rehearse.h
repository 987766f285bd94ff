#pragma once

#include <functional>
#include <optional>

#include "coordinator/access/subject_access_reviews.h"
#include "coordinator/imports/dry_run.h"
#include "coordinator/imports/observe.h"
#include "coordinator/kube/writer.h"

namespace vmferry::imports {

struct RehearsalParts {
  kube::Reader& reader;
  ObservationScope scope;  // import_namespace is the import's own, whatever stands here
  std::stop_token stop;
  kube::Writer& writer;  // asked only whether it would take the VM (dry run)
  std::function<Result<std::unique_ptr<Provider>>(const ProviderCredentials&)> make_provider;
  double bytes_per_second = 0;                     // for the estimate of time
  std::optional<bool> vddk = {};                   // whether an agent has VDDK; nothing: not known
  access::SubjectAccessReviews* access = nullptr;  // a cluster's, to ask about other namespaces
};

// Reads source and cluster as the reconciler would for a new import, decides by the same functions,
// and writes nothing: no object, no event, and the source's session is ended. What the reconciler
// would fail or block on is a blocking finding; what cannot be read just now makes the verdict
// Unknown. What only making claims can tell is not looked at: free space, quotas, whether a volume
// is found. The only error is Canceled.
Result<DryRun> rehearse(const RehearsalParts& parts, const api::VirtualMachineImport& import);

}  // namespace vmferry::imports
