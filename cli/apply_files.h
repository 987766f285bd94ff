#pragma once

#include <string>
#include <vector>

#include "cli/context.h"
#include "coordinator/api/manifest.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

namespace vmferry::cli {

// The objects of `-f PATH...`, read and checked: YAML, kinds, our kinds' fields, and by a dry run
// what the store would refuse. All problems are listed in one error, each with file, line, object
// and what to do: either everything can be applied, or nothing is. Notes about lenient readings go
// to context.err.
Result<std::vector<api::ManifestObject>> load_manifests(Context& context, kube::Reader& reader,
                                                        kube::Writer& writer,
                                                        const std::vector<std::string>& paths);

// Applies them in order and prints "<kind>/<name> created|configured|unchanged" for each. Answers
// the keys of the imports among them.
Result<std::vector<kube::ObjectKey>> apply_manifests(
    Context& context, kube::Reader& reader, kube::Writer& writer,
    const std::vector<api::ManifestObject>& objects);

}  // namespace vmferry::cli
