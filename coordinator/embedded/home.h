#pragma once

#include <string>

#include "common/result.h"

namespace vmferry::embedded {

// The directory of one embedded installation:
//
//   HOME/store.db                  all objects (0600)
//   HOME/keys/coordinator[.pub]    CURVE keys; agents/<agent>[.pub] beside them
//   HOME/run/coordinator.sock      live telemetry for CLI and dashboard (HTTP, owner only)
//   HOME/run/coordinator.json      address and public key that agents connect to
//   HOME/run/*.lock                one process of each kind at a time
//   HOME/log/<process>.log
//   HOME/fleet/                    attempts, journals and outcomes of transfers
//   HOME/agents/<agent>/           an agent's journals
//   HOME/templates/                *.yaml with Templates to prefer to the built-in ones, if made
//   HOME/volumes/                  the storage class "standard", unless others are applied
class Home {
 public:
  explicit Home(std::string path) : path_(std::move(path)) {}

  // --home, else $VMFERRY_HOME, else $XDG_DATA_HOME/vmferry, else ~/.local/share/vmferry.
  static Result<Home> find(const std::string& flag);
  // Makes the directories, owner only.
  Result<void> prepare() const;

  const std::string& path() const { return path_; }
  std::string store() const { return path_ + "/store.db"; }
  std::string keys() const { return path_ + "/keys"; }
  std::string agent_keys() const { return path_ + "/keys/agents"; }
  std::string run() const { return path_ + "/run"; }
  std::string socket() const { return path_ + "/run/coordinator.sock"; }
  std::string address_file() const { return path_ + "/run/coordinator.json"; }
  std::string log() const { return path_ + "/log"; }
  std::string fleet() const { return path_ + "/fleet"; }
  std::string agents() const { return path_ + "/agents"; }
  std::string templates() const { return path_ + "/templates"; }
  std::string volumes() const { return path_ + "/volumes"; }

 private:
  std::string path_;
};

// What run/coordinator.json holds.
struct CoordinatorAddress {
  std::string address;     // tcp://127.0.0.1:40123
  std::string public_key;  // Z85
};
Result<void> write_address(const Home& home, const CoordinatorAddress& address);
Result<CoordinatorAddress> read_address(const Home& home);

}  // namespace vmferry::embedded
