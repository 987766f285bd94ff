#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "common/clock.h"

namespace vmferry {

// Who waits, in the order of arrival. Whoever is called keeps its place until it comes, for a
// little while before everybody else: a newcomer that happens to ask at that moment is not first.
// Who does not come any more, as an import that was deleted, is forgotten.
class WaitingLine {
 public:
  static constexpr std::chrono::seconds kPlaceKept{2};
  static constexpr std::chrono::seconds kForgotten{30};

  // At the end of the line, or where it stands already.
  void join(const std::string& who);
  void leave(const std::string& who);
  // The first that was not called lately, called now.
  std::optional<std::string> call(SteadyTime now);
  // How many of those before `who` were called and are about to come.
  int called_before(const std::string& who, SteadyTime now);
  std::size_t size() const { return places_.size(); }
  bool empty() const { return places_.empty(); }

 private:
  void forget_absent(SteadyTime now);

  std::uint64_t last_ = 0;
  std::map<std::uint64_t, std::string> line_;
  std::map<std::string, std::uint64_t> places_;
  std::map<std::uint64_t, SteadyTime> called_;  // by place
};

}  // namespace vmferry
