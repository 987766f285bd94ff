#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/fd.h"

namespace vmferry::testing {

// A Kubernetes control plane of our tests (tests/support/kube/bed.py) as a child process: etcd,
// kube-apiserver with RBAC, kube-controller-manager; all of it is gone when the object is.
class KubeBed {
 public:
  struct Options {
    std::vector<std::string> apiserver_flags;
    bool controllers = true;
    bool scheduler = false;
  };
  // Why no control plane can run here; empty when one can. VMFERRY_KUBE_BIN names the folder with
  // the programs, else it is kube/ beside the build directory.
  static std::string missing();
  // Fails the test and answers null when it does not come up.
  static std::unique_ptr<KubeBed> start(const Options& options);
  // One for all tests of this process, with default options; started at the first call.
  static KubeBed* shared();
  ~KubeBed();
  KubeBed(const KubeBed&) = delete;
  KubeBed& operator=(const KubeBed&) = delete;

  std::string url() const { return ready_.at("url"); }
  std::string kubeconfig() const { return ready_.at("kubeconfig"); }  // of an administrator
  std::string folder() const { return ready_.at("folder"); }
  std::string ca_pem() const;
  std::string admin_certificate() const;
  std::string admin_key() const;

  // As the administrator. request() fails the test unless the answer is 2xx; try_request() gives
  // the status and whatever came.
  nlohmann::json request(const std::string& method, const std::string& path,
                         const nlohmann::json& body = {}) const;
  std::pair<int, nlohmann::json> try_request(
      const std::string& method, const std::string& path, const nlohmann::json& body = {},
      const std::string& content_type = "application/json") const;

  // A new namespace with its default service account.
  std::string make_namespace(const std::string& prefix = "t");
  // A token of a service account, by TokenRequest.
  std::string token(const std::string& ns, const std::string& account,
                    const std::vector<std::string>& audiences = {}) const;
  // Applies YAML files or a folder of them; CRDs among them are served afterwards.
  void apply(const std::string& path) { command("apply " + path); }

  // What the published Go types find wrong with these objects, fields that they do not have
  // included; empty: nothing. Needs strict-decode (build.sh makes it).
  static std::string strictly_decoded(const std::vector<nlohmann::json>& objects);

  void stop_apiserver() { command("stop-apiserver"); }
  void start_apiserver() { command("start-apiserver"); }
  void restart_apiserver() { command("restart-apiserver"); }
  void compact() { command("compact"); }  // drops etcd's history

 private:
  KubeBed() = default;
  void command(const std::string& line);

  pid_t pid_ = -1;
  UniqueFd in_;
  UniqueFd out_;
  nlohmann::json ready_;
  int namespaces_ = 0;
};

// First line of every test that needs the shared control plane.
#define VMFERRY_NEED_KUBE()                                                               \
  if (const std::string reason = ::vmferry::testing::KubeBed::missing(); !reason.empty()) \
  GTEST_SKIP() << reason

}  // namespace vmferry::testing
