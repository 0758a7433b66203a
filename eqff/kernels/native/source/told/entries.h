// A list that only grows, so that some can look an entry up while others add one.
#pragma once
#include <atomic>

template <class T>
class Entries {
    struct Node {
        T value;
        Node* next;
    };
    std::atomic<Node*> first{nullptr};

   public:
    void add(const T& value) {
        Node* made = new Node{value, first.load()};
        while (!first.compare_exchange_weak(made->next, made)) {
        }
    }
    struct Place {
        const Node* at;
        const T& operator*() const { return at->value; }
        Place& operator++() {
            at = at->next;
            return *this;
        }
        bool operator!=(const Place& other) const { return at != other.at; }
    };
    Place begin() const { return {first.load()}; }
    Place end() const { return {nullptr}; }
};
