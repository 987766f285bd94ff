#pragma once

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/log.h"
#include "coordinator/kube/cached_reader.h"
#include "coordinator/kube/cached_writer.h"
#include "coordinator/kube/informer.h"

namespace vmferry::cluster {

// What the coordinator knows of a cluster without asking: a watch for each kind that imports, and
// what they are decided on, consist of. Kinds that a cluster may lack (CDI, KubeVirt, templates,
// networks) are followed from when they appear.
//
// Secrets are read one by one when they are needed: whoever may watch them may read them all.
// Of claims, DataVolumes and pods those that are ours are followed and read from here, and they
// tell when their import has something to do; others are read one by one. So are virtual machines:
// of those we only hear. Attachments of volumes are followed, all of them: they have no labels.
class Caches {
 public:
  struct Handlers {
    std::function<void(const kube::ObjectKey& import)> on_import;  // it has something to do
    // What imports of a namespace (empty: of all) are decided on has changed.
    std::function<void(const std::string& ns)> on_change;
  };
  struct Scope {
    std::string own;      // where our configuration is
    std::string imports;  // whose imports we look after; empty: all
  };
  // Reads and writes through `direct` and `writer`; both outlive it.
  Caches(kube::Reader& direct, kube::Writer& writer, const Scope& scope, Handlers handlers,
         const Clock& clock, const Logger& log);

  kube::Reader& reader() { return reader_; }
  kube::Writer& writer() { return writer_; }
  const kube::Informer& imports() const { return *imports_; }

  // Until everything that a decision could miss is there. Canceled when stopped.
  Result<void> wait_until_synced(std::stop_token stop) const;

 private:
  kube::Informer& follow(const kube::ResourceType& type, kube::Informer::Handlers handlers,
                         kube::ListOptions scope = {});
  // Read through the cache from now on.
  void keep(kube::Informer& informer);
  kube::Informer::Handlers tell_owner() const;
  kube::Informer::Handlers tell_claim();
  kube::Informer::Handlers tell_detached() const;

  kube::Reader& direct_;
  const Handlers handlers_;
  const Clock& clock_;
  const Logger log_;
  kube::CachedReader reader_;
  kube::CachedWriter writer_;
  kube::Informer* imports_ = nullptr;
  Guarded<std::map<std::string, kube::ObjectKey>> imports_of_volumes_;
  std::vector<std::unique_ptr<kube::Informer>> informers_;  // last: they use what is above
};

}  // namespace vmferry::cluster
