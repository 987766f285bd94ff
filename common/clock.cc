#include "common/clock.h"

#include <fmt/chrono.h>

#include <condition_variable>
#include <ctime>
#include <mutex>

namespace vmferry {

WallTime SystemClock::wall() const { return std::chrono::system_clock::now(); }
SteadyTime SystemClock::steady() const { return std::chrono::steady_clock::now(); }

SteadyTime SystemClock::boot() const {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);  // cannot fail: Linux has had this clock since 2.6.39
  return SteadyTime(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

bool SystemClock::sleep(std::chrono::nanoseconds time, std::stop_token stop) const {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

WallTime FakeClock::wall() const {
  return WallTime(std::chrono::duration_cast<WallTime::duration>(
      std::chrono::nanoseconds(nanoseconds_.load())));
}
SteadyTime FakeClock::steady() const {
  return SteadyTime(std::chrono::nanoseconds(nanoseconds_.load()));
}
bool FakeClock::sleep(std::chrono::nanoseconds time, std::stop_token stop) const {
  if (stop.stop_requested()) return false;
  advance(time);
  return true;
}
void FakeClock::advance(std::chrono::nanoseconds time) const { nanoseconds_ += time.count(); }

std::string to_rfc3339(WallTime time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

std::string to_rfc3339_micro(WallTime time) {
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch());
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z",
                     fmt::gmtime(static_cast<std::time_t>(since.count() / 1'000'000)),
                     since.count() % 1'000'000);
}

Result<WallTime> parse_rfc3339(std::string_view text) {
  const std::string owned(text);
  std::tm parts{};
  const char* rest = strptime(owned.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) {
    return make_error(ErrorKind::InvalidArgument, "'{}' is not an RFC 3339 time", text);
  }
  std::chrono::microseconds fraction{0};
  if (*rest == '.') {
    std::int64_t micro = 0;
    std::int64_t scale = 100'000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10) micro += (*rest - '0') * scale;
    fraction = std::chrono::microseconds(micro);
  }
  std::chrono::minutes offset{0};
  if (*rest == '+' || *rest == '-') {
    int hours = 0;
    int minutes = 0;
    if (std::sscanf(rest + 1, "%2d:%2d", &hours, &minutes) != 2) {
      return make_error(ErrorKind::InvalidArgument, "'{}' has no valid zone offset", text);
    }
    offset = std::chrono::minutes(hours * 60 + minutes) * (*rest == '+' ? 1 : -1);
  } else if (*rest != 'Z' && *rest != 'z') {
    return make_error(ErrorKind::InvalidArgument, "'{}' has no zone", text);
  }
  return WallTime(std::chrono::system_clock::from_time_t(timegm(&parts))) + fraction - offset;
}

}  // namespace vmferry
