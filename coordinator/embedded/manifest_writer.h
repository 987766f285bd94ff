#pragma once

#include <string>
#include <thread>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/kube/informer.h"
#include "coordinator/kube/reader.h"

namespace vmferry::embedded {

// Writes each VirtualMachine, once its import is done with it (nobody controls it any more), as a
// manifest beside its disks: <class directory of its first claim>/<namespace>/<vm>.yaml, with the
// claims that it needs in the same file, so that a cluster can take it. Follows changes; removes
// the file with the VM. Level-based: after a crash the list brings back what is missing.
class ManifestWriter {
 public:
  ManifestWriter(kube::Reader& reader, std::string default_directory, const Clock& clock,
                 const Logger& log);

 private:
  void write(const kube::Object& vm);
  void remove(const kube::Object& vm);

  kube::Reader& reader_;
  std::string default_directory_;
  Logger log_;
  kube::Informer informer_;
};

// Where the manifest of a VM lies: beside the first claim's directory; see ManifestWriter.
std::string manifest_path(kube::Reader& reader, const kube::Object& vm,
                          const std::string& default_directory);

}  // namespace vmferry::embedded
