#pragma once

#include <memory>
#include <string>

#include "cli/context.h"
#include "coordinator/imports/observe.h"
#include "coordinator/kube/rest/cluster.h"
#include "transfer/sources/private_directory.h"

namespace vmferry::cli {

// Where `vmferry validate` is to look.
struct StageFlags {
  bool cluster = false;                      // a cluster, not the home's store
  std::string kubeconfig;                    // empty: as kubectl finds it
  std::string context;                       // of the kubeconfig; empty: its current one
  std::string config_namespace = "vmferry";  // the coordinator's own in the cluster
};

// Where objects are read and manifests are tried: a cluster; or the home's store; or an empty one
// of this run's own where there is no home yet, so that nothing is made there.
class Stage {
 public:
  // Errors: those of the home and its store, or of the kubeconfig.
  static Result<Stage> set(Context& context, const StageFlags& flags);

  kube::Reader& reader() const { return cluster_ ? cluster_->reader() : *store_; }
  kube::Writer& writer() const { return cluster_ ? cluster_->writer() : *store_; }
  // What the coordinator that works there goes by.
  const imports::ObservationScope& scope() const { return scope_; }
  // The namespace of what is asked without one; empty: the command line's.
  std::string ns() const { return cluster_ ? cluster_->ns() : std::string(); }

 private:
  std::unique_ptr<PrivateDirectory> scratch_;
  std::unique_ptr<embedded::Store> store_;
  std::unique_ptr<kube::Cluster> cluster_;
  imports::ObservationScope scope_;
};

}  // namespace vmferry::cli
