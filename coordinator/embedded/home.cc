#include "coordinator/embedded/home.h"

#include <cstdlib>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "common/fd.h"

namespace vmferry::embedded {
namespace {

constexpr unsigned kOwnerOnly = 0700;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Result<Home> Home::find(const std::string& flag) {
  std::string path = flag;
  if (path.empty()) path = environment("VMFERRY_HOME");
  if (path.empty() && !environment("XDG_DATA_HOME").empty()) {
    path = environment("XDG_DATA_HOME") + "/vmferry";
  }
  if (path.empty() && !environment("HOME").empty())
    path = environment("HOME") + "/.local/share/vmferry";
  if (path.empty()) {
    return make_error(ErrorKind::InvalidArgument,
                      "no home directory is known; name one with --home DIR");
  }
  std::error_code failure;
  const auto absolute = std::filesystem::absolute(path, failure);
  if (failure) {
    return make_error(ErrorKind::InvalidArgument, "home '{}': {}", path, failure.message());
  }
  return Home(absolute.lexically_normal().string());
}

Result<void> Home::prepare() const {
  for (const std::string& directory :
       {path_, keys(), agent_keys(), run(), log(), fleet(), agents(), volumes()}) {
    TRY(make_directories(directory, kOwnerOnly));
  }
  return {};
}

Result<void> write_address(const Home& home, const CoordinatorAddress& address) {
  const nlohmann::json json{{"address", address.address}, {"publicKey", address.public_key}};
  return write_file_atomically(home.address_file(), json.dump() + "\n", 0600);
}

Result<CoordinatorAddress> read_address(const Home& home) {
  const std::string text = TRY(read_file(home.address_file(), 4096));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("address") || !json["address"].is_string() ||
      !json.contains("publicKey") || !json["publicKey"].is_string()) {
    return make_error(ErrorKind::DataLoss, "'{}' is damaged", home.address_file());
  }
  return CoordinatorAddress{json["address"].get<std::string>(),
                            json["publicKey"].get<std::string>()};
}

}  // namespace vmferry::embedded
