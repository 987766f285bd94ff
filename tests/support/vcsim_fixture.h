#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace vmferry::testing {

// The vCenter of our tests (tests/support/vcsim) as a child process with certificates and state of
// its own in a temporary directory; all of it is gone when the object is.
class VcsimBed {
 public:
  struct Options {
    nlohmann::json inventory;        // bed.json
    std::vector<std::string> flags;  // more of its command line
    std::string user = "administrator@vsphere.local";
    std::string password = "correct horse & <battery>";
  };
  // Why no bed can run here; empty when one can. VMFERRY_VCSIM_BED names the program, else it is
  // vcsim-bed beside the build directory.
  static std::string missing();
  // Fails the test and answers null when the bed does not come up.
  static std::unique_ptr<VcsimBed> start(Options options);
  ~VcsimBed();
  VcsimBed(const VcsimBed&) = delete;
  VcsimBed& operator=(const VcsimBed&) = delete;

  const nlohmann::json& ready() const { return ready_; }  // the line it prints when it answers
  std::string url() const { return ready_.at("url"); }
  std::string sha1() const { return ready_.at("thumbprint_sha1"); }
  std::string sha256() const { return ready_.at("thumbprint_sha256"); }
  const nlohmann::json& vm(const std::string& name) const;  // of ready()["vms"]
  const std::string& user() const { return options_.user; }
  const std::string& password() const { return options_.password; }
  std::string ca_file() const { return directory_ + "/pki/ca.pem"; }

  // The control endpoint: GET /state, POST of a fault and the like.
  nlohmann::json state() const;
  nlohmann::json post(const std::string& route, const nlohmann::json& body) const;
  // Ends the process at once, as a vCenter that is switched off.
  void kill();

 private:
  VcsimBed() = default;
  Options options_;
  std::string directory_;
  pid_t pid_ = -1;
  nlohmann::json ready_;
};

}  // namespace vmferry::testing
