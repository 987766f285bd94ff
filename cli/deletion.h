#pragma once

#include "cli/context.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

namespace vmferry::cli {

struct DeletionOptions {
  bool wait = true;
  std::chrono::milliseconds timeout{std::chrono::minutes(5)};
};

// Deletes one object and prints what happens, until it is gone. Deleting an import undoes it: the
// coordinator ends its transfers, removes claims, restores the source; without a running one the
// deletion stays pending, and the answer is Unavailable with what to do. kOk, or kTimedOut.
Result<int> delete_object(Context& context, kube::Reader& reader, kube::Writer& writer,
                          const kube::ResourceType& type, const kube::ObjectKey& key,
                          const DeletionOptions& options);

}  // namespace vmferry::cli
