#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace vmferry::testing {

// The oVirt engine of our tests (tests/support/ovirt) as a child process with certificates, images
// and state of its own in a temporary directory; all of it is gone when the object is.
class OvirtBed {
 public:
  struct Options {
    nlohmann::json inventory;  // bed.json
    // Raw images beside the bed file: name and size in bytes; every 512 bytes of the first MiB
    // begin with their number, the rest is a hole.
    std::map<std::string, std::uint64_t> images;
    std::vector<std::string> flags;  // more of its command line
    // A host certificate of another authority than the engine's.
    bool separate_host_authority = false;
    std::string user = "admin@internal";
    std::string password = "correct horse & <battery>";
  };
  // Why no bed can run here; empty when one can.
  static std::string missing();
  // Fails the test and answers null when the bed does not come up.
  static std::unique_ptr<OvirtBed> start(Options options);
  ~OvirtBed();
  OvirtBed(const OvirtBed&) = delete;
  OvirtBed& operator=(const OvirtBed&) = delete;

  const nlohmann::json& ready() const { return ready_; }  // the line it prints when it answers
  std::string url() const { return ready_.at("url"); }
  const nlohmann::json& vm(const std::string& name) const;  // of ready()["vms"]
  const std::string& user() const { return options_.user; }
  const std::string& password() const { return options_.password; }
  std::string ca_pem() const;  // of the engine's certificate

  // The control endpoint: GET /state, POST of a fault and the like.
  nlohmann::json state() const;
  nlohmann::json post(const std::string& route, const nlohmann::json& body) const;
  // How many requests of that method had `part` in their path.
  int requests(const std::string& method, const std::string& part) const;
  // Ends the process at once, as an engine that is switched off.
  void kill();

 private:
  OvirtBed() = default;
  Options options_;
  std::string directory_;
  pid_t pid_ = -1;
  nlohmann::json ready_;
};

}  // namespace vmferry::testing
