#pragma once

#include <memory>

namespace vmferry {

template <auto Close>
struct CallClose {
  template <typename T>
  void operator()(T* object) const {
    Close(object);
  }
};

// A C library's object with its close function: using CurlEasy = Owned<CURL, curl_easy_cleanup>.
template <typename T, auto Close>
using Owned = std::unique_ptr<T, CallClose<Close>>;

}  // namespace vmferry
