#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "common/result.h"

namespace vmferry::cli {

struct ManifestFile {
  std::string name;  // for messages: the path as typed, or "<stdin>"
  std::string text;
};

// The files of `-f PATH...` in order: "-" is `in`; of a directory its *.yaml, *.yml and *.json
// files, sorted, not those of its subdirectories. InvalidArgument with VMF-REQ-MANIFEST for what
// cannot be read, a directory without manifests, a file larger than 16 MiB.
Result<std::vector<ManifestFile>> read_manifest_files(const std::vector<std::string>& paths,
                                                      std::istream& in);

}  // namespace vmferry::cli
