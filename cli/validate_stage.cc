#include "cli/validate_stage.h"

#include <unistd.h>

#include "cli/telemetry.h"

namespace vmferry::cli {
namespace {

// Of deploy/daemonset.
constexpr const char* kAgentPods =
    "app.kubernetes.io/name=vmferry,app.kubernetes.io/component=agent";

}  // namespace

Result<Stage> Stage::set(Context& context, const StageFlags& flags) {
  Stage stage;
  if (flags.cluster) {
    stage.cluster_ = TRY(
        kube::Cluster::open({.kubeconfig = flags.kubeconfig, .context = flags.context, .api = {}},
                            context.clock, context.log));
    stage.scope_ = {.embedded = false,
                    .config_namespace = flags.config_namespace,
                    .import_namespace = {},
                    .template_directory = {}};
    return stage;
  }
  const embedded::Home home = TRY(context.home());
  stage.home_ = home;
  std::string path = home.store();
  if (::access(path.c_str(), F_OK) != 0) {
    stage.scratch_ = TRY(PrivateDirectory::make(""));
    path = stage.scratch_->path() + "/store.db";
  }
  stage.store_ = TRY(embedded::Store::open(path, context.clock));
  stage.scope_.template_directory = home.templates();
  return stage;
}

VddkAgents Stage::ask_for_vddk(std::stop_token stop) const {
  if (cluster_) {
    const auto pods = cluster_->reader().list(
        kube::types::kPod, {.ns = scope_.config_namespace, .label_selector = kAgentPods}, stop);
    if (pods) return vddk_agents_of_pods(pods->items);
    return {.unknown_why = pods.error().message()};
  }
  auto telemetry = Telemetry::connect(*home_);
  if (!telemetry) return {.unknown_why = telemetry.error().message()};
  const auto agents = telemetry->agents(stop);
  if (agents) return vddk_agents(*agents);
  return {.unknown_why = "no coordinator runs here"};
}

}  // namespace vmferry::cli
