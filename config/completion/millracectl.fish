# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_millracectl_global_optspecs
    string join \n a/address= h/help V/version
end

function __fish_millracectl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_millracectl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_millracectl_using_subcommand
    set -l cmd (__fish_millracectl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c millracectl -n "__fish_millracectl_needs_command" -s a -l address -d 'The daemon\'s CLI port, as `listen-cli` has it' -r
complete -c millracectl -n "__fish_millracectl_needs_command" -s h -l help -d 'Print help'
complete -c millracectl -n "__fish_millracectl_needs_command" -s V -l version -d 'Print version'
complete -c millracectl -n "__fish_millracectl_needs_command" -f -a "fastpath" -d 'What is forwarded in the kernel: every entry with its counters, what the programs did with packets, and why the other streams are forwarded by the daemon'
complete -c millracectl -n "__fish_millracectl_needs_command" -f -a "capture" -d 'The packets of a call, as they come and as they leave, whichever way they take (pcapng)'
complete -c millracectl -n "__fish_millracectl_needs_command" -f -a "metrics" -d 'What the daemon counts, as Prometheus reads it'
complete -c millracectl -n "__fish_millracectl_needs_command" -f -a "top" -d 'The calls with the most packets, until an interrupt'
complete -c millracectl -n "__fish_millracectl_using_subcommand fastpath" -l summary -d 'Counters only, no entries'
complete -c millracectl -n "__fish_millracectl_using_subcommand fastpath" -l json -d 'One JSON document in place of text'
complete -c millracectl -n "__fish_millracectl_using_subcommand fastpath" -s h -l help -d 'Print help'
complete -c millracectl -n "__fish_millracectl_using_subcommand capture" -s w -l write -d 'Where to; else standard output' -r
complete -c millracectl -n "__fish_millracectl_using_subcommand capture" -l seconds -d 'How long at most' -r
complete -c millracectl -n "__fish_millracectl_using_subcommand capture" -l packets -d 'How many at most' -r
complete -c millracectl -n "__fish_millracectl_using_subcommand capture" -l snap-length -d 'What is kept of each packet' -r
complete -c millracectl -n "__fish_millracectl_using_subcommand capture" -s h -l help -d 'Print help'
complete -c millracectl -n "__fish_millracectl_using_subcommand metrics" -l table -d 'A line for each number that is not zero'
complete -c millracectl -n "__fish_millracectl_using_subcommand metrics" -l all -d 'Zeros too'
complete -c millracectl -n "__fish_millracectl_using_subcommand metrics" -l json -d 'JSON in place of Prometheus\'s text'
complete -c millracectl -n "__fish_millracectl_using_subcommand metrics" -s h -l help -d 'Print help'
complete -c millracectl -n "__fish_millracectl_using_subcommand top" -l interval -d 'Between two looks' -r
complete -c millracectl -n "__fish_millracectl_using_subcommand top" -l once -d 'The table of one interval, then no more'
complete -c millracectl -n "__fish_millracectl_using_subcommand top" -s h -l help -d 'Print help'
