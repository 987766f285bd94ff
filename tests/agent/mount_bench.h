#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace vmferry {

// A kubelet's directory with real mounts, in a mount namespace of this process. Skips, with the
// reason, where that is not permitted.
class MountBench : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root for mounts";
    // Once is enough for the process; the tests' mounts are taken away one by one.
    static const bool isolated = ::unshare(CLONE_NEWNS) == 0 &&
                                 ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    if (!isolated) GTEST_SKIP() << "needs the right to make mount namespaces";
    std::string name = std::filesystem::temp_directory_path() / "vmferry-mounts-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    top_ = name;
    make(kubelet());
  }
  void TearDown() override {
    for (auto it = mounts_.rbegin(); it != mounts_.rend(); ++it) ::umount2(it->c_str(), MNT_DETACH);
    for (const std::string& device : loops_) run("losetup -d " + device);
    if (!top_.empty()) std::filesystem::remove_all(top_);
  }

  std::string kubelet() const { return top_ + "/kubelet"; }
  std::string at(const std::string& name) const { return top_ + "/" + name; }
  static std::string make(const std::string& directory) {
    std::filesystem::create_directories(directory);
    return directory;
  }
  static std::string touch(const std::string& path) {
    make(std::filesystem::path(path).parent_path());
    std::ofstream(path) << "";
    return path;
  }
  void mount_tmpfs(const std::string& where, const std::string& options) {
    mounted(::mount("tmpfs", make(where).c_str(), "tmpfs", 0, options.c_str()), where);
  }
  void bind(const std::string& what, const std::string& where) {
    mounted(::mount(what.c_str(), where.c_str(), nullptr, MS_BIND, nullptr), where);
  }
  void mount_device(const std::string& device, const std::string& where, unsigned long flags = 0) {
    mounted(::mount(device.c_str(), make(where).c_str(), "ext4", flags, nullptr), where);
  }
  // A loop device of that many MiB; empty: not permitted here.
  std::string loop_device(int mebibytes) {
    const std::string file = at("backing-" + std::to_string(loops_.size()));
    std::ofstream(file) << "";
    std::filesystem::resize_file(file, static_cast<std::uintmax_t>(mebibytes) << 20);
    std::string device = run("losetup -f --show " + file);
    while (!device.empty() && device.back() == '\n') device.pop_back();
    if (!device.empty()) loops_.push_back(device);
    return device;
  }
  static std::string run(const std::string& command) {
    std::string output;
    FILE* pipe = ::popen((command + " 2>/dev/null").c_str(), "r");
    if (pipe == nullptr) return output;
    std::array<char, 256> part{};
    while (::fgets(part.data(), part.size(), pipe) != nullptr) output += part.data();
    return ::pclose(pipe) == 0 ? output : "";
  }

 private:
  void mounted(int result, const std::string& where) {
    ASSERT_EQ(result, 0) << where << ": " << std::strerror(errno);
    mounts_.push_back(where);
  }

  std::string top_;
  std::vector<std::string> mounts_;
  std::vector<std::string> loops_;
};

}  // namespace vmferry
