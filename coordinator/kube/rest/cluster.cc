#include "coordinator/kube/rest/cluster.h"

#include <unistd.h>

#include <cstdlib>

namespace vmferry::kube {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<Access> find_access(const Cluster::Options& options, const Clock& clock, const Logger& log) {
  std::string files = options.kubeconfig;
  if (files.empty()) files = environment("KUBECONFIG");
  if (files.empty()) {
    Result<Access> own = in_cluster_access(clock);
    if (own || own.error().kind() != ErrorKind::NotFound) return own;
    files = environment("HOME") + "/.kube/config";
    if (access(files.c_str(), R_OK) != 0) {
      return Error(std::move(own).error()).with_context("no kubeconfig");
    }
  }
  return kubeconfig_access({.files = files, .context = options.context}, clock, log);
}

}  // namespace

Cluster::Cluster(Access access, const ApiClient::Options& options, const Clock& clock,
                 const Logger& log)
    : ns_(access.ns), api_(std::move(access), options, clock, log), client_(api_, log) {}

Result<std::unique_ptr<Cluster>> Cluster::open(const Options& options, const Clock& clock,
                                               const Logger& log) {
  Access access = TRY(find_access(options, clock, log));
  return std::make_unique<Cluster>(std::move(access), options.api, clock, log);
}

}  // namespace vmferry::kube
