#include "cli/validate_stage.h"

#include <unistd.h>

namespace vmferry::cli {

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
  std::string path = home.store();
  if (::access(path.c_str(), F_OK) != 0) {
    stage.scratch_ = TRY(PrivateDirectory::make(""));
    path = stage.scratch_->path() + "/store.db";
  }
  stage.store_ = TRY(embedded::Store::open(path, context.clock));
  stage.scope_.template_directory = home.templates();
  return stage;
}

}  // namespace vmferry::cli
