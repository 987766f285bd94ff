#pragma once

#include <memory>
#include <string>

#include "common/result.h"

namespace vmferry {

// A directory of mode 0700 with a random name, removed with the files in it when destroyed.
class PrivateDirectory {
 public:
  // Inside `parent`; inside $TMPDIR (else the system's temporary directory) when that is empty or
  // so long that a Unix socket in it would have no address.
  static Result<std::unique_ptr<PrivateDirectory>> make(const std::string& parent);
  ~PrivateDirectory();
  PrivateDirectory(const PrivateDirectory&) = delete;
  PrivateDirectory& operator=(const PrivateDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit PrivateDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace vmferry
