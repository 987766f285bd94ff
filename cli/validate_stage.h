#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "cli/context.h"
#include "cli/vddk_agents.h"
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
  // Asks the coordinator that runs in the home; or looks at the agents' pods in the cluster.
  VddkAgents ask_for_vddk(std::stop_token stop) const;
  // The namespace of what is asked without one; empty: the command line's.
  std::string ns() const { return cluster_ ? cluster_->ns() : std::string(); }

 private:
  std::optional<embedded::Home> home_;
  std::unique_ptr<PrivateDirectory> scratch_;
  std::unique_ptr<embedded::Store> store_;
  std::unique_ptr<kube::Cluster> cluster_;
  imports::ObservationScope scope_;
};

}  // namespace vmferry::cli
